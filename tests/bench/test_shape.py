"""What bench/shape.py counts in a module, and what it passes over."""

import shutil
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from bench.brought import BROUGHT, brought_by
from bench.shape import Shape, Source, comparison, examine, shape_of, table

ROOT = Path(__file__).parents[2]
SOURCE = '''"""A module."""

from typing import Any

def swapped(a: Any, b: "list[int]") -> dict[str, Any]:
    """Docstrings are no statements."""
    a, b = b, a
    low, high = min(b), max(b)
    first, second = b
    return {"a": a, "b": (low, high, first, second)}
'''


def test_statements_any_and_parallel_assignments_are_counted() -> None:
    found = shape_of(SOURCE, "images/made_up.py")
    assert found == Shape(lines=8, statements=6, any_types=2, parallel=1, together=1)
    assert found + found == Shape(lines=16, statements=12, any_types=4, parallel=2, together=2)
    assert found.per_thousand_lines(found.any_types) == "250.0"


@pytest.mark.parametrize(("where", "count"), [("images/made_up.py", 1), ("cli/made_up.py", 0)])
def test_functions_may_be_long_in_the_command_line_only(where: str, count: int) -> None:
    source = "def long():\n" + "    pass\n" * 60
    assert len(shape_of(source, where).long_functions) == count
    assert not shape_of(source.removesuffix("    pass\n"), where).long_functions


def test_a_checkout_is_examined_by_its_own_layer_law(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "test_layers.py", tmp_path / "tests")
    for name, source in (
        ("errors.py", ""),
        ("images/upward.py", "import sdsr.prior"),
        ("prior/lawful.py", "import os"),
    ):
        (tmp_path / "sdsr" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sdsr" / name).write_text(source)
    found = examine(tmp_path)
    assert set(found.packages) == {".", "images", "prior"}
    assert found.packages["images"] == found.modules["images/upward.py"]
    assert [line.partition(": ")[0] for line in found.upward] == ["sdsr/images/upward.py:1"]
    assert found.whole.statements == 2


def test_the_table_has_a_column_for_each_revision() -> None:
    one = Source(modules={"images/a.py": Shape(lines=1000, statements=7, any_types=3)}, upward=("a", "b"))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table({"a": one, "b": one}).splitlines()]
    assert ["sdsr", "a", "b"] in lines
    assert ["upward imports", "2", "2"] in lines
    assert ["images", "7, 3.0, 0.0", "7, 3.0, 0.0"] in lines


def test_revisions_are_compared_without_what_was_brought_since() -> None:
    then = {"critics/a.py": Shape(statements=5, parallel=1, together=2), "models.py": Shape(statements=3)}
    now = {
        "discriminators/b.py": Shape(statements=6),
        "models.py": Shape(statements=4),
        "web/app.py": Shape(statements=9),
    }
    text = comparison(Source(modules=then, upward=()), Source(modules=now, upward=()))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["sdsr", "8", "10", "10", "+0", "9"] in lines
    assert ["discriminators", "5", "7", "6", "-1", "0"] in lines
    assert ["web", "0", "0", "0", "+0", "9"] in lines
    assert ["the page and the service", "9"] in lines


def test_what_was_brought_is_there() -> None:
    modules = {path.relative_to(ROOT / "sdsr").as_posix() for path in (ROOT / "sdsr").rglob("*.py")}
    patterns = [pattern for each in BROUGHT.values() for pattern in each]
    assert [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in modules)] == []
    assert brought_by("web/app.py") == "the page and the service"
    assert brought_by("upscaling.py") is None
