"""Curves as files of one folder: `rows.csv`, which an interrupted run continues, `curves.csv` and `curves.png`."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdsr.errors import InputError, OutputError
from sdsr.metrics.plots import Point, plot_curves
from sdsr.metrics.save import save_text
from sdsr.metrics.tables import csv_text
from sdsr.prior.weight_files import module_sha256
from sdsr.studies.curves import Row, Sweep, curves, measured, times_of
from sdsr.upscaling import Upscaler

ROWS = "rows.csv"
CURVES = "curves.csv"
PLOT = "curves.png"
_KEYS = ("label", "setup", "photo", "seed", "t")
Curves = Mapping[str, Sequence[Point]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row of the file: whose it is, and what it was measured under."""

    label: str
    setup: str
    row: Row


def record(
    label: str,
    upscaler: Upscaler,
    sweep: Sweep,
    folder: Path,
    *,
    source: str,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, list[Point]]:
    """Measure what `rows.csv` in the folder lacks of a method, add it there, and return the method's curves.

    `source` says what the LQ photos are; with the method's weights, its prior and the protocol it makes the setup.
    Raises InputError where the file holds rows of the same label and another setup.
    """
    path = folder / ROWS
    setup = _setup(upscaler, sweep, source)
    measures = [measure.name for measure in sweep.protocol.measures]
    found = _complete(_read(path, measures), label, setup, times_of(upscaler, sweep))
    wanted = [(sample.name, seed) for sample in sweep.samples for seed in sweep.seeds]
    rows = {key: found[key] for key in wanted if key in found}
    on_done(len(rows), len(wanted))
    for fresh in measured(upscaler, sweep, rows.keys()):
        _append(path, [Entry(label=label, setup=setup, row=row) for row in fresh])
        rows[fresh[0].photo, fresh[0].seed] = fresh
        on_done(len(rows), len(wanted))
    return curves(row for group in rows.values() for row in group)


def curves_csv(of: Mapping[str, Curves]) -> str:
    """A line for each method and time: mean and deviation of each measure."""
    measures = list(next(iter(of.values())))
    head = ["label", "t", *(name for measure in measures for name in (measure, f"{measure}_deviation"))]
    lines = [
        [label, points[0].t, *(figure for point in points for figure in (point.mean, point.deviation))]
        for label, by_measure in of.items()
        for points in zip(*by_measure.values(), strict=True)
    ]
    return csv_text([head, *lines])


def plot(of: Mapping[str, Curves], target: Path) -> None:
    """One panel for each measure, time running from noise to photo; bands are one deviation to each side."""
    measures = next(iter(of.values()))
    plot_curves({measure: {label: curves[measure] for label, curves in of.items()} for measure in measures}, target)


def _setup(upscaler: Upscaler, sweep: Sweep, source: str) -> str:
    restorer = upscaler.restorer
    weights = module_sha256(restorer.parts.modules)[:12]
    prior = restorer.prior.sha256[:12]
    plan = f"{len(upscaler.plan(sweep.steps).times)} steps"
    colors = upscaler.recipe.color_fix if sweep.color_fix else "none"
    return f"{upscaler.recipe.name} {weights} on {prior}, {plan}, {source}, {sweep.protocol.name}, color fix {colors}"


def _complete(
    entries: Sequence[Entry], label: str, setup: str, times: Sequence[int]
) -> dict[tuple[str, int], list[Row]]:
    """The rows of this label, by photo and seed, where there is one for each time; of two for one time, the later."""
    groups: dict[tuple[str, int], dict[int, Row]] = {}
    for entry in entries:
        if entry.label != label:
            continue
        if entry.setup != setup:
            raise InputError(
                f"{ROWS} holds {label} of another setup (={entry.setup}), not {setup}; choose another folder or label."
            )
        groups.setdefault((entry.row.photo, entry.row.seed), {})[entry.row.t] = entry.row
    return {key: [group[t] for t in times] for key, group in groups.items() if all(t in group for t in times)}


def _read(path: Path, measures: Sequence[str]) -> list[Entry]:
    """The file's rows; begun where there is none, and freed of a last line that an interruption cut short."""
    if not path.exists():
        save_text(csv_text([[*_KEYS, *measures]]), path)
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        save_text(whole, path)
    header, *lines = list(csv.reader(io.StringIO(whole))) or [[]]
    if header != [*_KEYS, *measures]:
        raise InputError(f"{path} has other columns (={','.join(header)}) than this run; choose another folder.")
    return [_entry(dict(zip(header, line, strict=True)), measures) for line in lines]


def _entry(cells: Mapping[str, str], measures: Sequence[str]) -> Entry:
    values = {measure: float(cells[measure]) for measure in measures}
    row = Row(photo=cells["photo"], seed=int(cells["seed"]), t=int(cells["t"]), values=values)
    return Entry(label=cells["label"], setup=cells["setup"], row=row)


def _append(path: Path, entries: Sequence[Entry]) -> None:
    lines = [
        [entry.label, entry.setup, entry.row.photo, entry.row.seed, entry.row.t, *entry.row.values.values()]
        for entry in entries
    ]
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(csv_text(lines))
    except OSError as error:
        raise OutputError(f"{path} can't be written (={error.strerror}); check the folder and its space.") from error
