"""Options that several commands have, so that they are called and described alike everywhere."""

from pathlib import Path
from typing import Annotated

import typer

Prior = Annotated[str | None, typer.Option(help="Where the method's prior is: a name or a folder.")]
AnotherPrior = Annotated[str | None, typer.Option(help="Another prior: a name or a folder.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps ...; the fastest by default.")]
KernelWidth = Annotated[
    float | None,
    typer.Option(
        help="By how wide a kernel the result is reduced, to be compared with its photo: 1 is bicubic's width, for a "
        "scaled copy, 1.2 to 2 are a camera's; estimated by default."
    ),
]
NoiseSeed = Annotated[int, typer.Option(min=0, help="Seed of the noise.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Denoising steps, where the method has a choice.")]
FirstPhotos = Annotated[int | None, typer.Option(min=1, help="Only the first photos.")]
ProtocolName = Annotated[str, typer.Option(help="How to measure; as in `sdsr evaluate`.")]
Perceptual = Annotated[list[str] | None, typer.Option(help="Also lpips, musiq ... of pyiqa; repeatable.")]
PhotosCsv = Annotated[Path | None, typer.Option(help="Also write every photo's figures to this file.")]
Features = Annotated[
    bool, typer.Option("--features", help=r"Also the distance of ImageNet features, by `sdsr\[evaluate]`.")
]
Choosing = Annotated[
    bool, typer.Option("--choosing", help="That distance by the network that losses see, to choose weights by.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")]
Precision = Annotated[str, typer.Option(help="no (float32), bf16, or auto, which asks the device.")]
SaveEvery = Annotated[float, typer.Option(help="Seconds between checkpoints.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads of the computation.")]


def split_change(change: str) -> tuple[str, str]:
    """Return key and value of `--set KEY=VALUE`."""
    key, found, value = change.partition("=")
    if not found:
        raise typer.BadParameter(f"--set {change} must read KEY=VALUE.")
    return key, value
