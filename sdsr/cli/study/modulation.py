"""`sdsr study modulation`: how strongly a StableSR is told of the photo, time by time."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdsr.cli.options import Device, NoiseSeed, Prior
from sdsr.methods.settings import with_settings
from sdsr.metrics.comparison import labels_of
from sdsr.metrics.plots import check_plots
from sdsr.metrics.save import save_text
from sdsr.metrics.tables import aligned, spread
from sdsr.photos.files import read_photo

if TYPE_CHECKING:
    from sdsr.upscaling import Upscaler

_SHOWN = 8


def modulation(
    model: Annotated[str, typer.Argument(help="A StableSR (`sdsr models`), or a folder of a trained one.")],
    photos: Annotated[list[Path], typer.Argument(help="LQ photos.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of modulation.csv, modulation.png and sft.png.")
    ],
    timeless: Annotated[
        Path | None, typer.Option(help="Parts of a run of the same recipe, not told the time: also this one.")
    ] = None,
    scale: Annotated[float, typer.Option(help="How many times longer each side gets.")] = 4.0,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps; the method's own by default.")] = None,
    seed: NoiseSeed = 0,
    prior: Prior = None,
    device: Device = None,
) -> None:
    """Plot the cosine similarity of features before and after modulation at each time, and the SFT features."""
    from sdsr.studies.modulation import curve, modulation_csv, moments, plot_maps, plot_similarity
    from sdsr.upscaling import Request, Upscaler

    check_plots()
    upscalers = {Path(model).name: Upscaler.from_pretrained(model, prior=prior, device=device)}
    if timeless is not None:
        upscalers["without time"] = _timeless(next(iter(upscalers.values())), timeless, prior, device)
    given = {label: read_photo(path) for label, path in zip(labels_of(photos), photos, strict=True)}
    request = Request(scale=scale, steps=steps, seed=seed)
    output.mkdir(parents=True, exist_ok=True)
    found = {
        label: {name: list(moments(upscaler, photo, request)) for name, photo in given.items()}
        for label, upscaler in upscalers.items()
    }
    save_text(modulation_csv(found), output / "modulation.csv")
    plot_similarity(found, output / "modulation.png")
    plot_maps(found, output / "sft.png")
    rows = [
        [label, str(point.t), f"{point.mean:.4f} ± {point.deviation:.4f}"]
        for label, photos_of in found.items()
        for point in spread(curve(photos_of), _SHOWN)
    ]
    typer.echo(f"{aligned([['model', 't', 'similarity'], *rows])}\n\n{output}")


def _timeless(like: "Upscaler", parts: Path, prior: str | None, device: str | None) -> "Upscaler":
    """The same method without the time, with the parts of a run."""
    from sdsr.checkpoints.weights import fill_from_run
    from sdsr.methods.trained import run_recipe
    from sdsr.upscaling import Upscaler

    recipe = with_settings(run_recipe(like.recipe, parts), {"method.encoder.time_aware": False})
    restorer = recipe.restoring.build(prior or recipe.prior, device)
    fill_from_run(restorer, parts)
    return Upscaler(recipe, restorer)
