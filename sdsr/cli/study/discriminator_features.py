"""`sdsr study discriminator-features`: what diffusion UNets see in photos as discriminators."""

from pathlib import Path
from typing import Annotated

import typer

from sdsr.cli.options import Device, NoiseSeed
from sdsr.errors import InputError
from sdsr.metrics.comparison import labels_of
from sdsr.metrics.save import check_target, save_image
from sdsr.photos.files import read_photo


def discriminator_features(
    photos: Annotated[list[Path], typer.Argument(help="Photos of one size: true ones, restored ones ...")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The sheet: .png, .jpg or .webp.")],
    prior: Annotated[str, typer.Option(help="Whose latents are judged: a name or a folder.")] = "small",
    discriminator: Annotated[
        list[str] | None,
        typer.Option(
            help="A UNet: prior (its own), sdxl-base, or a folder; repeatable, to compare discriminators of all sizes."
        ),
    ] = None,
    time: Annotated[list[int] | None, typer.Option(min=0, max=999, help="A time of the noise; repeatable.")] = None,
    level: Annotated[int, typer.Option(help="Which output: 0 ... of the down blocks, -1 the middle's.")] = -1,
    size: Annotated[int, typer.Option(min=64, help="Side of the photos' middle squares, in pixels.")] = 512,
    seed: NoiseSeed = 0,
    device: Device = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing sheet.")] = False,
) -> None:
    """Show the features of noised photos in diffusion UNets, at several times and in one or more UNets."""
    from torch import nn

    from sdsr.discriminators.diffusion_unet import drop_decoder
    from sdsr.discriminators.sources import discriminator_unet
    from sdsr.prior.loading import load_prior
    from sdsr.studies.discriminator_features import TIMES, Look, features, latents_of, sheet

    check_target(output, overwrite=overwrite, image=True)
    given = {label: read_photo(path) for label, path in zip(labels_of(photos), photos, strict=True)}
    sizes = {photo.size for photo in given.values()}
    if len(sizes) > 1:
        raise InputError(f"photos (={len(sizes)} sizes) must be of one size; restore them to the same.")
    loaded = load_prior(prior, device=device)
    look = Look(times=tuple(time or TIMES), level=level, seed=seed)
    latents = latents_of(loaded, given, size)
    found = {}
    for source in discriminator or ["prior"]:
        unet = drop_decoder(discriminator_unet(loaded, source)).eval()
        nn.Module.to(unet, loaded.device)
        levels = len(unet.down_blocks) + 1
        if not -levels <= level < levels:
            raise InputError(f"level (={level}) of {source} must be in {-levels} ... {levels - 1}; -1 is the middle.")
        found[source] = features(unet, loaded, list(latents.values()), look)
    save_image(sheet(given, found, look, side_px=size, factor=loaded.factor), output)
    typer.echo(f"{output}")
