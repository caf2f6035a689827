"""Curves as files of one folder: `rows.csv`, which an interrupted run continues, `curves.csv` and `curves.png`."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image as PillowImage

from sdsr.errors import InputError, OutputError
from sdsr.metrics.save import save_image, save_text
from sdsr.prior.weight_files import module_sha256
from sdsr.studies.curves import Point, Row, Sweep, curves, measured, times_of

if TYPE_CHECKING:
    from sdsr.upscaling import Upscaler

ROWS, CURVES, PLOT = "rows.csv", "curves.csv", "curves.png"
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
    upscaler: "Upscaler",
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
    path, times, setup = folder / ROWS, times_of(upscaler, sweep), _setup(upscaler, sweep, source)
    measures = [measure.name for measure in sweep.protocol.measures]
    found = _complete(_read(path, measures), label, setup, times)
    wanted = [(subject.name, seed) for subject in sweep.subjects for seed in sweep.seeds]
    rows = {key: found[key] for key in wanted if key in found}
    on_done(len(rows), len(wanted))
    for fresh in measured(upscaler, sweep, rows.keys()):
        _append(path, [Entry(label=label, setup=setup, row=row) for row in fresh])
        rows[fresh[0].photo, fresh[0].seed] = fresh
        on_done(len(rows), len(wanted))
    return curves(row for group in rows.values() for row in group)


def curves_csv(of: Mapping[str, Curves]) -> str:
    """A line for each method and time: mean and deviation of each measure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measures = list(next(iter(of.values())))
    writer.writerow(["label", "t", *(name for measure in measures for name in (measure, f"{measure}_deviation"))])
    for label, by_measure in of.items():
        for points in zip(*by_measure.values(), strict=True):
            figures = [f"{figure:.6f}" for point in points for figure in (point.mean, point.deviation)]
            writer.writerow([label, points[0].t, *figures])
    return text.getvalue()


def plot(of: Mapping[str, Curves], target: Path) -> None:
    """One panel for each measure, time running from noise to photo; bands are one deviation to each side."""
    from matplotlib.figure import Figure

    measures = list(next(iter(of.values())))
    figure = Figure(figsize=(4.2 * len(measures), 3.4), layout="constrained")
    for axes, measure in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        for label, by_measure in of.items():
            times = [point.t for point in by_measure[measure]]
            means = [point.mean for point in by_measure[measure]]
            bands = [point.deviation for point in by_measure[measure]]
            (line,) = axes.plot(times, means, marker="." if len(times) < 12 else None, label=label)
            low, high = ([mean + sign * band for mean, band in zip(means, bands, strict=True)] for sign in (-1, 1))
            axes.fill_between(times, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        axes.set(xlabel="t", ylabel=measure)
        axes.invert_xaxis()
    figure.axes[0].legend()
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=150)
    with PillowImage.open(memory) as image:
        save_image(image, target)


def _setup(upscaler: "Upscaler", sweep: Sweep, source: str) -> str:
    restorer = upscaler.restorer
    weights, prior = module_sha256(restorer.parts.modules)[:12], restorer.prior.sha256[:12]
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
        save_text(_csv([[*_KEYS, *measures]]), path)
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
        [entry.label, entry.setup, entry.row.photo, entry.row.seed, entry.row.t]
        + [f"{value:.6f}" for value in entry.row.values.values()]
        for entry in entries
    ]
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(_csv(lines))
    except OSError as error:
        raise OutputError(f"{path} can't be written (={error.strerror}); check the folder and its space.") from error


def _csv(lines: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
