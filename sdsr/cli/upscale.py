"""`sdsr upscale`: photos in, restored and enlarged photos out."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdsr.cli.options import Device, NoiseSeed, Prior, Steps
from sdsr.cli.printing import echo_json, echo_line, one_line

if TYPE_CHECKING:
    from sdsr.batch.engine import Outcome, Settings
    from sdsr.batch.model import Model
    from sdsr.photos.formats import Format
    from sdsr.request import Request
    from sdsr.upscaling import Upscaler

PIPE = Path("-")
_WITHOUT_LABEL = (
    "sdsr: --no-label leaves out of the XMP: that a model had a part in the picture (DigitalSourceType), which one "
    "(AISystemUsed, AISystemVersionUsed), and the step: weights, settings, seed, prompt, sha256 of the photo."
)


class ColorFix(StrEnum):
    """Where the result's colors come from."""

    wavelet = "wavelet"
    adain = "adain"
    ycbcr = "ycbcr"
    none = "none"


class FileFormat(StrEnum):
    """What can be written."""

    jpeg = "jpeg"
    png = "png"
    webp = "webp"
    tiff = "tiff"
    avif = "avif"
    jxl = "jxl"


def upscale(
    photos: Annotated[
        list[Path], typer.Argument(readable=False, help="Photos, folders of photos, or - for standard input.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            readable=False,
            help="A file, a folder, or - for standard output; beside the photo by default.",
        ),
    ] = None,
    scale: Annotated[float | None, typer.Option(help="How many times longer each side gets; 4 by default.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Width of the result in pixels.")] = None,
    height: Annotated[int | None, typer.Option(min=1, help="Height of the result in pixels.")] = None,
    megapixels: Annotated[float | None, typer.Option(help="Millions of pixels of the result.")] = None,
    model: Annotated[str, typer.Option(help="A method (`sdsr models`), or a folder of a trained one.")] = "d3sr-small",
    prior: Prior = None,
    steps: Steps = None,
    start: Annotated[
        str | None, typer.Option(help="Time to start at, where the method has a choice (InvSR: 250 ... 100), or auto.")
    ] = None,
    untrained_start: Annotated[
        bool, typer.Option("--untrained-start", help="Take a start that the method was not trained at.")
    ] = False,
    seed: NoiseSeed = 0,
    device: Device = None,
    memory: Annotated[str | None, typer.Option(help="Most to use at once, like 8GB; what is free by default.")] = None,
    prompt: Annotated[str | None, typer.Option(help="What the photo shows, where the method listens.")] = None,
    fidelity: Annotated[
        float | None, typer.Option(help="0 (the model's details) to 1 (the photo's), where the method has a choice.")
    ] = None,
    color_fix: Annotated[ColorFix | None, typer.Option(help="How colors are taken from the photo.")] = None,
    format: Annotated[FileFormat | None, typer.Option(help="Format of the result; the photo's own by default.")] = None,
    no_label: Annotated[
        bool,
        typer.Option(
            "--no-label",
            help="Leave out the XMP that says what was done: IPTC's source type, AI system and its version; "
            "model, settings, seed, and sha256 of the photo.",
        ),
    ] = False,
    quality: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Of lossy formats; 95 by default, and lossless stays lossless."),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace results that exist.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per photo.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Restore and enlarge photos: one, several, folders with all that is in them, or standard input.

    A folder's results keep its tree, and a run that was stopped goes on where it was when it is started again. A photo
    that can't be restored is reported, and the others go on; the exit code is then 1, or 2 if none could be.
    """
    from sdsr.batch.amounts import parse_bytes
    from sdsr.batch.engine import Settings
    from sdsr.batch.model import Model
    from sdsr.batch.walking import plan
    from sdsr.errors import InputError
    from sdsr.photos.sources import is_pipe
    from sdsr.request import Request

    request = Request(
        scale=scale,
        width=width,
        height=height,
        megapixels=megapixels,
        seed=seed,
        steps=steps,
        start=_start(start),
        untrained_start=untrained_start,
        prompt=prompt,
        fidelity=fidelity,
        color_fix=color_fix.value if color_fix else None,
        memory_bytes=parse_bytes(memory) if memory else None,
        label=not no_label,
    )
    settings = Settings(request=request, format=_format(format), quality=quality, overwrite=overwrite)
    if scale is not None:
        request.size(64, 64)  # what is wrong with a scale is wrong for every photo
    pipes = [photo for photo in photos if photo == PIPE or is_pipe(photo)]
    piped = bool(pipes) or output == PIPE
    if piped and len(photos) != 1:
        raise InputError(f"{pipes[0] if pipes else PIPE} (={len(photos)} photos) stands for one photo; give only that.")
    if piped and json:
        raise InputError("--json can't stand beside -, whose output is the photo; leave one out.")
    if no_label and not quiet:
        typer.echo(_WITHOUT_LABEL, err=True)
    with _terminated_like_interrupted():
        if piped:
            _pipe(photos[0], output, lambda: _load(model, prior, device, request), settings)
            return
        jobs = plan(photos, request, output=output, format=settings.format)
        described = Model.described(model, lambda: _load(model, prior, device, request))
        outcomes = _report(jobs, described, settings, json=json, quiet=quiet)
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    if failed:
        raise typer.Exit(2 if failed == len(outcomes) else 1)


def _format(format: FileFormat | None) -> "Format | None":
    names: dict[str, Format] = {
        "jpeg": "JPEG",
        "png": "PNG",
        "webp": "WEBP",
        "tiff": "TIFF",
        "avif": "AVIF",
        "jxl": "JXL",
    }
    return names[format] if format else None


def _start(text: str | None) -> "int | Literal['auto'] | None":
    from sdsr.errors import InputError

    if text is None or text == "auto":
        return text
    if not text.isdecimal():
        raise InputError(f"start (={text}) must be a whole number or auto; try auto.")
    return int(text)


def _load(model: str, prior: str | None, device: str | None, request: "Request") -> "Upscaler":
    """Return the upscaler; a device, or a number of steps or start, that can't be is an InputError."""
    import torch

    from sdsr.errors import InputError
    from sdsr.upscaling import Upscaler

    try:
        if device is not None:
            torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"device (={device}) can't be used ({reason}); `sdsr doctor` lists those here.") from error
    upscaler = Upscaler.from_pretrained(model, prior=prior, device=device)
    _check_plan(upscaler, request)
    return upscaler


def _check_plan(upscaler: "Upscaler", request: "Request") -> None:
    """Raise InputError, before any photo is read, for a plan that the method has not; warn of an untrained start."""
    recipe = upscaler.recipe
    assert recipe.method is not None, "it restores"
    recipe.method.plan(request.wishes)
    if recipe.starts and request.start not in (None, "auto", *recipe.starts):
        typer.echo(
            f"sdsr: warning: start (={request.start}) is none that {recipe.name} was trained at "
            f"({', '.join(map(str, recipe.starts))}); the result may be off.",
            err=True,
        )


def _report(jobs: list, model: "Model", settings: "Settings", *, json: bool, quiet: bool) -> list["Outcome"]:
    """Restore the photos, tell of each when it is finished, and of all in the end; return what became of them."""
    from dataclasses import asdict

    from sdsr.batch.engine import process

    outcomes: list[Outcome] = []
    try:
        with _progress_bar(len(jobs), shown=not (json or quiet)) as show:
            advance = lambda job, share: show(len(outcomes) + (share if share < 1 else 0), job.source.name)  # noqa: E731
            for outcome in process(jobs, model, settings, on_progress=advance):
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


def _line(outcome: "Outcome") -> str:
    if outcome.size is None:
        return f"{outcome.output}: there already, complete"
    chosen = f"; {outcome.chosen}" if outcome.chosen else ""
    return f"{outcome.output}: {outcome.size[0]}x{outcome.size[1]}, {outcome.seconds:.1f} s{chosen}"


def _print_summary(outcomes: list["Outcome"]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("", "photos", "megapixels", "seconds"):
        table.add_column(heading, justify="right" if heading else "left")
    for status in ("done", "skipped", "failed"):
        those = [outcome for outcome in outcomes if outcome.status == status]
        megapixels = sum(outcome.size[0] * outcome.size[1] for outcome in those if outcome.size) / 1e6
        table.add_row(status, str(len(those)), f"{megapixels:.1f}", f"{sum(outcome.seconds for outcome in those):.1f}")
    Console().print(table)


def _pipe(source: Path, output: Path | None, load: Callable[[], "Upscaler"], settings: "Settings") -> None:
    """Restore one photo from standard input or a pipe, to standard output, or both."""
    from sdsr.batch.engine import check_target, restore
    from sdsr.errors import InputError, OutputError
    from sdsr.photos.files import encode_photo, format_of, write_photo
    from sdsr.photos.sources import is_pipe, read_pipe

    target = None if output in (None, PIPE) else output
    if target is None and sys.stdout.isatty():
        raise InputError("output (=-) is a terminal; redirect it to a file, or name one with -o.")
    format = settings.format or (format_of(target) if target else None)
    if target is not None:
        check_target(target, overwrite=settings.overwrite)
    data: Path | bytes = source
    if source == PIPE:
        data = sys.stdin.buffer.read(settings.limits.max_file_bytes + 1)
    elif is_pipe(source):
        data = read_pipe(source, settings.limits.max_file_bytes)
    photo, chosen = restore(data, load(), settings, format=format)
    if chosen:
        typer.echo(f"sdsr: {chosen}", err=True)
    format = format or photo.traits.format
    if target is not None:
        write_photo(photo, target, format=format, quality=settings.quality, overwrite=settings.overwrite)
        return
    try:
        sys.stdout.buffer.write(encode_photo(photo, format, settings.quality))
        sys.stdout.buffer.flush()
    except OSError as error:
        raise OutputError(f"standard output can't be written ({error.strerror}); check what reads it.") from error


@contextmanager
def _progress_bar(total: int, *, shown: bool) -> Iterator[Callable[[float, str], None]]:
    """Yield what moves a bar on standard error to a number of photos done; without a terminal there is none."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

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


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does, so that nothing half-written is left."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
