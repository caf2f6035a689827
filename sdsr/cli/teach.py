"""`sdsr teach`: pairs of degraded crops with a teacher's answers, for the stages that learn from one."""

from pathlib import Path
from typing import Annotated

import typer

from sdsr.cli.options import Precision, Threads


def teach(
    teacher: Annotated[Path, typer.Argument(help="Real-ESRGAN x4plus in its published layout, safetensors or .pth.")],
    data: Annotated[list[Path], typer.Option(help="Folders of photos or WebDataset shards (*.tar); may repeat.")],
    to: Annotated[Path, typer.Option(help="Folder of the pairs; what is there already is kept.")],
    pairs: Annotated[int, typer.Option(min=1, help="How many pairs.")] = 2048,
    crop_px: Annotated[int, typer.Option(min=64, help="Side of the HQ crops.")] = 256,
    table: Annotated[str, typer.Option("--degradation", help="Table of degradations.")] = "photo",
    seed: Annotated[int, typer.Option(min=0, help="Seed of crops and degradations.")] = 0,
    precision: Precision = "auto",
    threads: Threads = None,
) -> None:
    """Make pairs with a teacher's answers; stopped at any moment, it goes on where it was."""
    import torch

    from sdsr.data.photos import open_photos
    from sdsr.data.taught import Teaching
    from sdsr.prior.loading import choose_device
    from sdsr.training.launch import precision_of
    from sdsr.training.teaching import make_taught_pairs

    if threads:
        torch.set_num_threads(threads)
    teaching = Teaching(pairs=pairs, crop_px=crop_px, degradation=table, seed=seed)
    make_taught_pairs(open_photos(data), teaching, teacher, to, precision_of(precision, choose_device()))
    print(f"pairs: {to}")
