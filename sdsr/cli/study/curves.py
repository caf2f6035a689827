"""`sdsr study curves`: quality along the restoration, time by time."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdsr.cli.options import Device, FirstPhotos, Perceptual, Prior, Steps
from sdsr.errors import InputError
from sdsr.metrics.plots import Point, check_plots
from sdsr.metrics.save import save_text
from sdsr.metrics.tables import aligned, spread

if TYPE_CHECKING:
    from sdsr.studies.curve_files import Curves


def curves(
    models: Annotated[list[str], typer.Argument(help="Methods (`sdsr models`) or folders of trained ones.")],
    hr: Annotated[Path, typer.Argument(help="Folder of true photos.")],
    lq: Annotated[Path | None, typer.Option(help="Folder of their LQ photos; without it, they are degraded.")] = None,
    degraded: Annotated[str, typer.Option(help="The degradation, a method's or its own name.")] = "photo",
    crop: Annotated[
        int | None, typer.Option(min=32, help="Take the middle square of this side, before degrading.")
    ] = None,
    photos: FirstPhotos = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds; the band is the spread over them.")] = 3,
    steps: Steps = None,
    stop: Annotated[int | None, typer.Option(min=1, help="End after this many steps.")] = None,
    color_fix: Annotated[bool, typer.Option(help="Give each estimate the photo's colors, as a result has.")] = False,
    perceptual: Perceptual = None,
    labels: Annotated[str | None, typer.Option(help="What to call the models: with,without.")] = None,
    prior: Prior = None,
    device: Device = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of rows.csv, curves.csv and curves.png.")
    ] = Path("curves"),
) -> None:
    """Measure the truncated estimate at every time of a method's plan against the truth; plot one or more methods.

    The same command goes on with what an interrupted one left.
    """
    from sdsr.data.degradation import degradation
    from sdsr.metrics.perceptual import with_perceptual
    from sdsr.studies.curve_files import CURVES, PLOT, curves_csv, plot, record
    from sdsr.studies.curves import CURVE_PROTOCOL, Sweep
    from sdsr.studies.samples import degraded_samples, paired_samples
    from sdsr.upscaling import Upscaler

    names = labels.split(",") if labels else [Path(model).name for model in models]
    if len(names) != len(models) or len(set(names)) < len(names):
        raise InputError(f"labels (={','.join(names)}) must be {len(models)} different ones; give --labels a,b.")
    if lq and crop:
        raise InputError(f"--crop (={crop}) is for photos that are degraded here; leave it out, or --lq.")
    check_plots()
    settings = degradation(degraded)
    samples = paired_samples(lq, hr, photos) if lq else degraded_samples(hr, settings, photos, crop)
    sweep = Sweep(
        samples=samples,
        seeds=tuple(range(seeds)),
        protocol=with_perceptual(CURVE_PROTOCOL, perceptual or []),
        steps=steps,
        stop=stop,
        color_fix=color_fix,
    )
    source = f"LQ of {lq}" if lq else f"{hr} degraded by {settings.name}, crop {crop or 'none'}"
    output.mkdir(parents=True, exist_ok=True)
    found = {}
    for label, model in zip(names, models, strict=True):
        upscaler = Upscaler.from_pretrained(model, prior=prior, device=device)
        progress = _progress(label)
        found[label] = record(label, upscaler, sweep, output, source=source, on_done=progress)
    save_text(curves_csv(found), output / CURVES)
    plot(found, output / PLOT)
    head = ["model", "t", *(measure.name for measure in sweep.protocol.measures)]
    typer.echo(f"{aligned([head, *_lines(found)])}\n\n{output / CURVES}\n{output / PLOT}")


def _progress(label: str) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        typer.echo(f"{label}: {done} of {total} restorations", err=True)

    return show


def _lines(found: "Mapping[str, Curves]") -> list[list[str]]:
    """A few times of each method: the first, the last and some between."""
    return [
        [label, str(row[0].t), *map(_figure, row)]
        for label, by_measure in found.items()
        for row in spread(list(zip(*by_measure.values(), strict=True)))
    ]


def _figure(point: Point) -> str:
    return f"{point.mean:.3f}" if math.isnan(point.deviation) else f"{point.mean:.3f} ± {point.deviation:.3f}"
