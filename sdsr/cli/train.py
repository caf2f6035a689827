"""`sdsr train`: one stage of a recipe, on one device or, under `accelerate launch`, on many."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe; `sdsr methods` lists them.")],
    data: Annotated[list[Path], typer.Option(help="Folders of photos or WebDataset shards (*.tar); may repeat.")],
    run: Annotated[Path, typer.Option(help="Folder of this run; an existing one is resumed.")],
    lq: Annotated[
        Path | None, typer.Option(help="Folder of LQ photos paired with --data (no degradation then).")
    ] = None,
    validation: Annotated[
        list[Path] | None, typer.Option(help="Photos that are scored and shown while training.")
    ] = None,
    stage: Annotated[str | None, typer.Option(help="Which stage, where a recipe has several.")] = None,
    prior: Annotated[str | None, typer.Option(help="Another prior: a name or a folder.")] = None,
    start_from: Annotated[Path | None, typer.Option("--from", help="Folder of parts to begin with.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps; the recipe's by default.")] = None,
    minutes: Annotated[float | None, typer.Option(help="End, annealed, after this time.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: optimizer.learning_rate=1e-4")
    ] = None,
    precision: Annotated[str, typer.Option(help="no (float32), bf16, or auto, which asks the device.")] = "auto",
    save_every: Annotated[float, typer.Option(help="Seconds between checkpoints.")] = 300.0,
    validate_every: Annotated[int, typer.Option(help="Steps between validations.")] = 500,
    validation_photos: Annotated[int, typer.Option(help="How many of the validation photos.")] = 48,
    validation_px: Annotated[int, typer.Option(help="Side of their middle squares.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of crops, degradations and noise.")] = 0,
    workers: Annotated[int, typer.Option(help="Loader threads.")] = 1,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Recompute the UNet's activations: less memory, slower.")
    ] = False,
    compile: Annotated[bool, typer.Option(help="torch.compile the training step.")] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the computation.")] = None,
) -> None:
    """Train one stage of a recipe; resumable, killable at any moment."""
    from sdsr.training.launch import LaunchSettings, launch
    from sdsr.training.run import RunSettings

    settings = LaunchSettings(
        data=tuple(data),
        lq=lq,
        validation=tuple(validation or ()),
        stage=stage,
        prior=prior,
        start_from=start_from,
        changes=dict(_split(change) for change in changes or ()),
        precision=precision,
        validation_photos=validation_photos,
        validation_px=validation_px,
        threads=threads,
    )
    limits = RunSettings(
        folder=run,
        steps=steps or 0,
        minutes=minutes,
        save_every_s=save_every,
        validate_every=validate_every,
        seed=seed,
        loader_workers=workers,
        gradient_checkpointing=gradient_checkpointing,
        compile=compile,
    )
    print(f"trained parts: {launch(recipe, settings, limits)}")


def _split(change: str) -> tuple[str, str]:
    key, found, value = change.partition("=")
    if not found:
        raise typer.BadParameter(f"--set {change} must read KEY=VALUE.")
    return key, value
