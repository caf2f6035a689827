"""What `sdsr upscale` tells while it works, of each photo when it is finished, and of all in the end."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from sdsr.batch.engine import Beside, Outcome, Settings, process
from sdsr.batch.model import Model
from sdsr.batch.walking import Job
from sdsr.cli.printing import echo_json, echo_line, one_line


def report(
    jobs: Sequence[Job],
    model: Model,
    settings: Settings,
    *,
    json: bool,
    quiet: bool,
    beside: Beside | None = None,
) -> list[Outcome]:
    """Restore the photos, tell of each when it is finished, and of all in the end; return what became of them."""
    outcomes: list[Outcome] = []
    try:
        with _progress_bar(len(jobs), shown=not (json or quiet)) as show:
            advance = lambda job, share: show(len(outcomes) + (share if share < 1 else 0), job.source.name)  # noqa: E731
            for outcome in process(jobs, model, settings, on_progress=advance, beside=beside):
                outcomes.append(outcome)
                if json:
                    echo_json(asdict(outcome))
                elif outcome.error is not None:
                    where = "" if len(jobs) == 1 else f"{outcome.input}: "
                    echo_line(f"sdsr: error: {where}{outcome.error}", err=True)
                elif not quiet:
                    echo_line(_line(outcome))
    except KeyboardInterrupt:
        done = sum(outcome.status != "failed" for outcome in outcomes)
        typer.echo(f"sdsr: stopped; {done} of {len(jobs)} photos are done, nothing is half-written.", err=True)
        raise
    if len(jobs) > 1 and not (json or quiet):
        _print_summary(outcomes)
    return outcomes


def _line(outcome: Outcome) -> str:
    if outcome.size is None:
        return f"{outcome.output}: there already, complete"
    chosen = f"; {outcome.chosen}" if outcome.chosen else ""
    return f"{outcome.output}: {outcome.size[0]}x{outcome.size[1]}, {outcome.seconds:.1f} s{chosen}"


def _print_summary(outcomes: list[Outcome]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("", "photos", "megapixels", "seconds"):
        table.add_column(heading, justify="right" if heading else "left")
    for status in ("done", "skipped", "failed"):
        those = [outcome for outcome in outcomes if outcome.status == status]
        megapixels = sum(outcome.size[0] * outcome.size[1] for outcome in those if outcome.size) / 1e6
        table.add_row(status, str(len(those)), f"{megapixels:.1f}", f"{sum(outcome.seconds for outcome in those):.1f}")
    Console().print(table)


@contextmanager
def _progress_bar(total: int, *, shown: bool) -> Iterator[Callable[[float, str], None]]:
    """Yield what moves a bar on standard error to a number of photos done; without a terminal there is none."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(
        *columns,
        console=console,
        disable=not (shown and console.is_terminal),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:
        task = progress.add_task("loading", total=total)

        def show(done: float, name: str) -> None:
            number = f"{min(int(done) + 1, total)}/{total} " if total > 1 else ""
            progress.update(task, completed=done, description=f"{number}{one_line(name)}".replace("[", r"\["))

        yield show
