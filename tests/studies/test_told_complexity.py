"""What pages say of sizes and operations is what was counted (`tests/recorded/values/complexity.json`)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sdsr.studies.complexity import PHASES

ROOT = Path(__file__).parents[2]
COUNTED = json.loads((ROOT / "tests" / "recorded" / "values" / "complexity.json").read_text("utf-8"))
LAYERS, ATTENTION = range(2)


def page(name: str) -> str:
    """A page in one line, so that its figures may be anywhere in it."""
    return " ".join((ROOT / "docs" / f"{name}.md").read_text("utf-8").split())


def rows(name: str, first: str) -> Iterator[list[str]]:
    """The cells of a table's rows, by the heading of its first column."""
    lines = (ROOT / "docs" / f"{name}.md").read_text("utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def macs(method: str, phase: str, *, attention: bool = True) -> float:
    """Billions of all parts, as the command's row "total" has them, or that without attention."""
    assert phase in PHASES
    parts: list[dict[str, Any]] = list(COUNTED[method]["parts"].values())
    return sum(part[phase][LAYERS] + attention * part[phase][ATTENTION] for part in parts) / 1e9


def test_small_models() -> None:
    counted = [cells for cells in rows("small-models", "folder in `sdsr/assets`") if cells[-1]]
    assert len(counted) == 6
    for name, _, steps, parameters, _, operations in counted:
        method = name.strip("`")
        added = sum(part["parameters"] for part in COUNTED[method]["parts"].values() if part["added"])
        assert [steps, parameters] == [str(COUNTED[method]["steps"]), f"{added / 1e6:.1f} M"], method
        assert operations == f"{macs(method, 'image'):.1f}", method


@pytest.mark.parametrize(("method", "teacher"), [("addsr-small", "seesr-small"), ("addsr", "seesr")])
def test_what_a_look_back_costs(method: str, teacher: str) -> None:
    name = f"`{method}`" + ("" if method.endswith("small") else ", full size")
    (told,) = [cells[1:] for cells in rows("claims", "billions of MACs, 128 to 512 px") if cells[0] == name]
    step = macs(method, "step")
    around = macs(method, "encode_lq") + macs(method, "decode")
    look = (macs(method, "image") - around - 4 * step) / 3
    hint = (2 * macs(teacher, "one_pass") - macs(teacher, "step")) / 2  # its guided passes do without
    four = around + 4 * step - 3 * hint
    expected = [step, look, four, macs(method, "image")]
    assert [float(cell.replace(",", "")) for cell in told] == pytest.approx(expected, rel=1e-3, abs=0.06)


def test_one_step() -> None:
    told = page("methods/d3sr")
    parameters = sum(part["parameters"] for part in COUNTED["d3sr"]["parts"].values())
    assert f"counts {parameters:,} parameters" in told
    assert f"and {macs('d3sr', 'image', attention=False):,.1f} billion MACs in layers" in told


def test_passes_steps_and_photos_of_consissr() -> None:
    told = page("methods/consissr").partition("`sdsr study complexity consissr` prints")[2].partition("## ")[0]
    one_pass = macs("consissr", "one_pass", attention=False)
    assert f"{one_pass:,.1f} billion" in told
    assert f"{100 * one_pass / 1000:.2f} T" in told
    assert f"a step takes {macs('consissr', 'step', attention=False):,.1f} billion" in told
    assert f"{macs('consissr', 'image', attention=False):,.1f} billion without attention" in told
    assert f"{macs('consissr', 'image'):,.1f} billion in all" in told
