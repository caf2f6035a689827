"""What `sdsr upscale` tells while it works, of each photo when it is finished, and of all in the end."""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TaskProgressColumn, TextColumn
from rich.progress import Task as BarTask
from rich.text import Text

from sdsr.batch.desk import Batch
from sdsr.batch.engine import process
from sdsr.batch.outcome import KINDS, Kind, Outcome, complaint
from sdsr.batch.pace import Pace, mean_pixels, told_time
from sdsr.batch.walking import Task
from sdsr.cli.printing import echo_json, echo_line, one_line
from sdsr.cli.tables import numbers, plain_table

if TYPE_CHECKING:
    from sdsr.batch.estimate import Estimate
    from sdsr.batch.ray_cluster import Cluster

_LEAST_SHARE = 0.05  # of the first photo, by which the rest is reckoned


def report(batch: Batch, *, json: bool, quiet: bool, cluster: "Cluster | None" = None) -> "Tally":
    """Restore the photos, tell of each when it is finished, and of all in the end; return what became of them."""
    tasks = batch.tasks
    tally = Tally()
    try:
        with (
            _shown_progress(batch, shown=not (json or quiet)) as progress,
            _own_output(shared=cluster is not None) as out,
        ):
            for outcome in _outcomes(batch, progress, cluster):
                tally.count(outcome)
                progress.settle(outcome)
                if json:
                    echo_json(asdict(outcome), file=out)
                elif outcome.error is not None:
                    echo_line(f"sdsr: error: {_complaint(outcome, alone=len(tasks) == 1)}", err=True)
                elif not (quiet or outcome.labeled):
                    echo_line(_line(outcome), file=out)
    except KeyboardInterrupt:
        done = tally.photos["done"] + tally.photos["skipped"]
        typer.echo(f"sdsr: stopped; {done} of {len(tasks)} photos are done, nothing is half-written.", err=True)
        raise
    if len(tasks) > 1 and not (json or quiet):
        _print_summary(tally)
    if tally.labeled and not (json or quiet):
        typer.echo(_of_labeled(tally.labeled), err=True)
    return tally


@contextmanager
def _own_output(*, shared: bool) -> Iterator[TextIO | None]:
    """Yield where to print, None for standard output; what Ray prints there, by threads, goes to standard error."""
    if not shared:
        yield None
        return
    out = sys.stdout
    with redirect_stdout(sys.stderr):
        yield out


def _outcomes(batch: Batch, progress: "_Shown", cluster: "Cluster | None") -> Iterator[Outcome]:
    if cluster is not None:
        from sdsr.batch.ray_engine import process_on_ray

        return process_on_ray(batch, cluster)
    return process(batch, on_progress=progress.advance, on_size=progress.begin)


def tell_estimate(found: "Estimate", *, json: bool) -> None:
    """Print what a batch would take; raise OutputError where the disk can't hold its results."""
    if json:
        echo_json(asdict(found))
        found.check()
        return
    sampled = "" if found.sampled == found.to_do else f" (of {found.sampled} photos, evenly spread)"
    hours = None if found.seconds is None else f"about {told_time(found.seconds)} in one process on this machine"
    needed = "unknown" if found.disk_bytes is None else f"about {decimal(found.disk_bytes)}"
    rows = {
        "photos": f"{found.photos}, of which {found.finished} are finished and {found.to_do} to do",
        "unreadable": f"{found.unreadable}{sampled}",
        **({"labeled": f"{found.labeled}{sampled}, which are skipped"} if found.labeled else {}),
        "megapixels": f"{_few(found.megapixels_in)} of photos, {_few(found.megapixels_out)} of results{sampled}",
        "time": hours or "unknown, as no photo could be probed",
        "disk": f"{needed}; {decimal(found.free_bytes)} are free",
    }
    for name, value in rows.items():
        typer.echo(f"{name + ':':<12}{value}")
    for each in found.complaints:
        echo_line(f"sdsr: error: {each}", err=True)
    found.check()


def _of_labeled(number: int) -> str:
    if number == 1:
        return "sdsr: 1 photo was restored before, as its label says, and is skipped; --labeled restores it, too."
    return f"sdsr: {number} photos were restored before, as labels say, and are skipped; --labeled restores them, too."


def _few(number: float) -> str:
    """Return a number with one decimal, and with two digits where that would be next to nothing."""
    return f"{number:.1f}" if number >= 1 else f"{number:.2g}"


def _complaint(outcome: Outcome, *, alone: bool) -> str:
    """Return a failure with the photo's path; of one photo that was given, only where the failure names it anyway."""
    error = outcome.error or ""
    told = complaint(outcome.input, error)
    return error if alone and told.endswith(f": {error}") else told


def _line(outcome: Outcome) -> str:
    if outcome.size is None:
        return f"{outcome.output}: there already, complete"
    more = [f"{outcome.seconds:.1f} s", outcome.chosen, outcome.again and f"again, as {outcome.again}"]
    return f"{outcome.output}: {outcome.size[0]}x{outcome.size[1]}, {'; '.join(filter(None, more))}"


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of many photos, in numbers: by status, and by why they were made again or failed.

    So many of those skipped are `labeled`, which are results of earlier runs.
    """

    photos: Counter[str] = field(default_factory=Counter)
    pixels: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    again: Counter[str] = field(default_factory=Counter)
    failed: Counter[Kind] = field(default_factory=Counter)
    labeled: int = 0

    def count(self, outcome: Outcome) -> None:
        status = outcome.status
        self.photos[status] += 1
        self.seconds[status] += outcome.seconds
        if outcome.size is not None:
            self.pixels[status] += outcome.size[0] * outcome.size[1]
        self.labeled += outcome.labeled
        if outcome.again is not None:
            self.again[outcome.again] += 1
        if outcome.kind is not None:
            self.failed[outcome.kind] += 1


def _print_summary(tally: Tally) -> None:
    table = plain_table("", *numbers("photos", "megapixels", "seconds"))
    for status in ("done", "skipped", "failed"):
        megapixels = tally.pixels[status] / 1e6
        table.add_row(status, str(tally.photos[status]), f"{megapixels:.1f}", f"{tally.seconds[status]:.1f}")
    Console().print(table)
    for reason, number in sorted(tally.again.items()):
        typer.echo(f"{number} made again, as {reason}")
    for kind, number in tally.failed.most_common():
        typer.echo(f"{number} failed: {KINDS[kind]}")


@dataclass(slots=True, kw_only=True)
class _Shown:
    """A bar on standard error that moves by pixels, and pulses before there are any; without a terminal there is none.

    It says when all is done, as soon as there is a pace.
    """

    batch: Batch
    bar: Progress
    bar_task: TaskID
    pace: Pace

    def begin(self, task: Task, pixels: int) -> None:
        if not self.bar.disable and self.pace.known == 0:
            self.pace.mean_px = mean_pixels(self.batch)
        self.pace.begin(task, pixels, time.monotonic())

    def advance(self, task: Task, share: float) -> None:
        self.pace.advance(task, share, time.monotonic())
        self._show(task.photo)

    def settle(self, outcome: Outcome) -> None:
        self.pace.settle(outcome, time.monotonic())
        if self.pace.at_work is None:
            self._show(outcome.input)

    def _show(self, photo: str) -> None:
        if self.bar.disable:
            return
        name = Path(photo).name
        pace = self.pace
        total = len(self.batch.tasks)
        number = f"{min(pace.settled + 1, total)}/{total} " if total > 1 else ""
        left_s = pace.left_s if pace.done_px > 0 or pace.share > _LEAST_SHARE else None
        self.bar.update(
            self.bar_task,
            completed=pace.finished_px,
            total=max(1.0, pace.finished_px + pace.left_px) if pace.finished_px > 0 else None,
            description=f"{number}{one_line(name)}".replace("[", r"\["),
            done_s=None if left_s is None else pace.now_s + left_s,
        )


class _TimeLeft(ProgressColumn):
    """Counts down to when all will be done (`done_s`, of `time.monotonic`); empty where that isn't known, or past."""

    def render(self, task: BarTask) -> Text:
        done_s = task.fields["done_s"]
        left_s = 0.0 if done_s is None else done_s - time.monotonic()
        return Text(f"about {told_time(left_s)} left" if left_s >= 0.5 else "")


@contextmanager
def _shown_progress(batch: Batch, *, shown: bool) -> Iterator[_Shown]:
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), _TimeLeft()
    with Progress(
        *columns,
        console=console,
        disable=not (shown and console.is_terminal),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ) as bar:
        bar_task = bar.add_task("loading", total=None, done_s=None)
        yield _Shown(batch=batch, bar=bar, bar_task=bar_task, pace=Pace(photos=len(batch.tasks)))
