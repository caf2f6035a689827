"""Records against this tree: cheap ones in `make test`, others in `make test-slow`.

Of most curves of losses the first steps are computed there; `make soak` computes them whole, and counts at full size.
"""

import copy

import pytest

from tests.recorded import access, inputs, kinds
from tests.recorded.kinds import KINDS, LOSSES, PIXELS, TINY, Kind

CHEAP = {
    "complexity-tiny": ["consissr-published", "d3sr-small", "invsr-small", "stablesr-small"],
    "losses": ["d3sr-small/fidelity", "stablesr-small/modulation", "invsr-small/realism"],
}
"""What the suite has time for; of kinds that are not named here and are no more dear, everything."""
DEAR = {"complexity"}
CASES = [
    (kind, name) for kind in KINDS.values() if kind.name not in DEAR for name in CHEAP.get(kind.name, kind.names())
]


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{kind.name}-{name}" for kind, name in CASES])
def test_it_is_as_recorded(kind: Kind, name: str) -> None:
    assert_as_recorded(kind, name, whole=False)


REST = [(KINDS[kind], name) for kind, cheap in CHEAP.items() for name in KINDS[kind].names() if name not in cheap]
REST += [(LOSSES, name) for name in CHEAP["losses"]]  # of which the suite computes the first steps


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), REST, ids=[f"{kind.name}-{name}" for kind, name in REST])
def test_the_rest_is_as_recorded(kind: Kind, name: str) -> None:
    assert_as_recorded(kind, name, whole=name in CHEAP["losses"])


def assert_as_recorded(kind: Kind, name: str, *, whole: bool) -> None:
    early = kind is LOSSES and not whole
    found = kinds.losses(name, kinds.EARLY_STEPS) if early else kind.compute(name)
    assert kind.check(name, exact=False, found=found) == []


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_everything_is_recorded_and_nothing_else(kind: Kind) -> None:
    assert sorted(kind.read()) == sorted(kind.names())


def test_records_are_small() -> None:
    assert sum(path.stat().st_size for path in inputs.VALUES.rglob("*") if path.is_file()) < 300_000


def test_a_changed_size_or_name_is_told() -> None:
    recorded = TINY.read()["d3sr-small"]
    found = copy.deepcopy(recorded)
    found["parts"]["unet"]["parameters"] += 1
    (line,) = TINY.check("d3sr-small", exact=False, found=found)
    before = recorded["parts"]["unet"]["parameters"]
    assert line == f"complexity-tiny d3sr-small: parts.unet.parameters was {before} and is {before + 1}"


def test_exchanged_weights_make_a_record_stale_and_the_command_is_told() -> None:
    found = {"weights": "0" * 64, "pixels": inputs.crop()}
    (line,) = PIXELS.check("d3sr-small", exact=False, found=found)
    assert "weights were exchanged" in line
    assert line.endswith("python -m tests.recorded write pixels d3sr-small")


@pytest.mark.parametrize(("levels", "exact", "differs"), [(0, True, False), (1, True, True), (7, False, True)])
def test_pixels_are_compared(levels: int, exact: bool, differs: bool) -> None:
    before = kinds.recorded_pixels("d3sr-small")
    pixels = before.copy()
    pixels[0, 0, 0] = pixels[0, 0, 0] + levels if pixels[0, 0, 0] < 128 else pixels[0, 0, 0] - levels
    found = {"weights": PIXELS.read()["d3sr-small"]["weights"], "pixels": pixels}
    assert bool(PIXELS.check("d3sr-small", exact=exact, found=found)) is differs


@pytest.mark.parametrize(("change", "exact", "differs"), [(1e-6, True, False), (1e-4, True, True), (2e-3, False, True)])
def test_losses_are_compared_relative_to_the_curve(change: float, exact: bool, differs: bool) -> None:
    name = CHEAP["losses"][0]
    found = copy.deepcopy(LOSSES.read()[name])
    found["loss"][1] += change * max(map(abs, found["loss"]))
    assert bool(LOSSES.check(name, exact=exact, found=found)) is differs


def test_what_is_not_recorded_is_told() -> None:
    (line,) = TINY.check("another", exact=False, found={})
    assert line == "complexity-tiny another: not recorded; python -m tests.recorded write complexity-tiny another"


def test_names_of_a_format_say_what_fills_them() -> None:
    lines = list(kinds.names_of("invsr"))
    assert "noise_predictor/conv_out.bias [8] <- encoder.conv_out.bias" in lines
    assert len(lines) == 164
    assert access.published_formats() == sorted(inputs.SOURCES)
