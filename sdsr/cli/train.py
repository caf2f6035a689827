"""`sdsr train`: one stage of a recipe, on one device or, under `accelerate launch`, on many."""

from pathlib import Path
from typing import Annotated

import typer

from sdsr.cli.options import AnotherPrior, Precision, SaveEvery, Threads, split_change


def _take_config(context: typer.Context, path: Path | None) -> Path | None:
    """Let the file's `[run]` give options that are not typed."""
    from sdsr.training.configuration import read_toml, run_options

    if path is not None:
        names = {option.lstrip("-").replace("-", "_"): p.name for p in context.command.params for option in p.opts}
        context.default_map = {
            names[key]: value for key, value in run_options(read_toml(path), names.keys() - {"recipe"}).items()
        }
    return path


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe; `sdsr models` lists them.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Folders of photos or WebDataset shards (*.tar); may repeat.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of this run; an existing one is resumed.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            callback=_take_config, is_eager=True, help=r"TOML: the stage's settings, and these options under \[run]."
        ),
    ] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the stage as TOML and leave.")] = False,
    lq: Annotated[
        Path | None, typer.Option(help="Folder of LQ photos paired with --data (no degradation then).")
    ] = None,
    pairs: Annotated[
        list[Path] | None, typer.Option(help="Folders of pairs that `sdsr teach` made, for stages with a teacher.")
    ] = None,
    validation: Annotated[
        list[Path] | None, typer.Option(help="Photos that are scored and shown while training.")
    ] = None,
    stage: Annotated[str | None, typer.Option(help="Which stage, where a recipe has several.")] = None,
    prior: AnotherPrior = None,
    init_from: Annotated[
        list[Path] | None, typer.Option("--from", help="Folder of parts to begin with; repeatable, the last one wins.")
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            " /--partly",
            show_default=False,
            help="Take what fits of --from's parts, where they are of another network.",
        ),
    ] = True,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps; the recipe's by default.")] = None,
    minutes: Annotated[float | None, typer.Option(help="End, annealed, after this time.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: optimizer.learning_rate=1e-4")
    ] = None,
    precision: Precision = "auto",
    save_every: SaveEvery = 300.0,
    validate_every: Annotated[int, typer.Option(help="Steps between validations.")] = 500,
    validation_photos: Annotated[int, typer.Option(help="How many of the validation photos.")] = 48,
    validation_px: Annotated[int, typer.Option(help="Side of their middle squares.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of fresh weights, crops, degradations and noise.")] = 0,
    workers: Annotated[int, typer.Option(help="Loader threads.")] = 1,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Recompute the UNet's activations: less memory, slower.")
    ] = False,
    shard: Annotated[
        bool, typer.Option("--shard", help="Spread what is trained over the processes (FSDP2): less memory each.")
    ] = False,
    compile: Annotated[bool, typer.Option(help="torch.compile the training step.")] = False,
    threads: Threads = None,
) -> None:
    """Train one stage of a recipe; resumable, killable at any moment."""
    from sdsr.training import launch as launching
    from sdsr.training.configuration import read_toml, stage_changes, stage_toml
    from sdsr.training.run import RunSettings
    from sdsr.training.trainer import leave_others

    changed = (stage_changes(read_toml(config)) if config else {}) | dict(
        split_change(change) for change in changes or ()
    )
    if print_config:
        typer.echo(stage_toml(launching.find_stage(recipe, stage, changed)), nl=False)
        return
    if not (data or pairs) or run is None:
        missing = "--run" if data or pairs else "--data"
        raise typer.BadParameter(f"Missing option '{missing}', here or in a --config's [run].")
    settings = launching.LaunchSettings(
        data=tuple(data or ()),
        lq=lq,
        pairs=tuple(pairs or ()),
        validation=tuple(validation or ()),
        stage=stage,
        prior=prior,
        init_from=tuple(init_from or ()),
        strict=strict,
        changes=changed,
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
        shard=shard,
        compile=compile,
    )
    print(f"trained parts: {launching.launch(recipe, settings, limits)}")
    leave_others()
