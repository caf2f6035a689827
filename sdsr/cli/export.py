"""`sdsr export`: the trained parts of a run as a folder that restores, or a trained model as ONNX graphs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from sdsr.cli.folders import complete_folder
from sdsr.errors import InputError, ModelError
from sdsr.methods import METHODS
from sdsr.models import find_model


def export(
    to: Annotated[Path, typer.Option(help="Folder to write; a new or empty one.")],
    recipe: Annotated[
        str | None, typer.Argument(help="The recipe that was trained; `sdsr models` lists those that restore.")
    ] = None,
    parts: Annotated[Path | None, typer.Option(help="The parts folder of its training run.")] = None,
    onnx: Annotated[
        str | None,
        typer.Option(help="Instead of a run's parts: a trained one-step model, as ONNX graphs that need no torch."),
    ] = None,
    prior: Annotated[str | None, typer.Option(help="The prior it was trained on; the run's own by default.")] = None,
    autoencoder: Annotated[
        Path | None, typer.Option(help="small-prior only: the parts folder of the autoencoder's run.")
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            "--base",
            "--upon",
            help="Folder of a method beside --to that has some of its weights; they are not stored again.",
        ),
    ] = None,
    bits: Annotated[
        int,
        typer.Option(help="Of each weight: 16 (half precision), or 8, where large ones become integers with a scale."),
    ] = 16,
    overwrite: Annotated[bool, typer.Option(help="Replace the files of a folder that holds some.")] = False,
) -> None:
    """Write a run's trained parts in half precision or 8 bits, ready for `sdsr upscale --model FOLDER`.

    With --onnx, write a model's graphs: with its weights, or into its own folder beside them (with --overwrite).
    """
    from sdsr.checkpoints.weights import run_metadata
    from sdsr.prior.eight_bits import check_bits
    from sdsr.training.recipes import RECIPES

    check_bits(bits)
    if onnx is not None:
        if recipe is not None or parts is not None or autoencoder is not None or base is not None or bits != 16:
            raise InputError(
                f"--onnx (={onnx}) names a model that is trained and stored already; leave RECIPE, --parts, --base and "
                "--bits out."
            )
        typer.echo(f"{to}: {_write_graphs(onnx, to, prior=prior, overwrite=overwrite)}")
        return
    if recipe is None or parts is None:
        raise InputError("RECIPE and --parts say which run is exported; give both, or a model with --onnx.")
    exportable = {*METHODS, "small-prior", "small-perceptual"} & RECIPES.keys()
    if recipe not in exportable:
        raise InputError(f"recipe (={recipe}) must be one of {', '.join(sorted(exportable))}.")
    if (recipe == "small-prior") != (autoencoder is not None):
        raise InputError(
            f"--autoencoder (={autoencoder}) belongs to small-prior, which needs it; {recipe} was asked for."
        )
    if base is not None and base.resolve().parent != to.resolve().parent:
        raise InputError(f"base (={base}) must lie beside --to (={to}); write into {base.resolve().parent}.")
    noted = run_metadata(parts)
    if noted.get("recipe", recipe) != recipe:
        raise InputError(f"parts (={parts}) are of recipe {noted['recipe']}, not of {recipe}; export that one.")
    with complete_folder(to, overwrite=overwrite) as folder:
        what = _write(recipe, parts, folder, prior=prior, autoencoder=autoencoder, base=base, noted=noted, bits=bits)
    typer.echo(f"{to}: {what}")


def _write_graphs(model: str, to: Path, *, prior: str | None, overwrite: bool) -> str:
    """Write a model's graphs, and return a line on what they are."""
    from sdsr.exporting.graphs import export_graphs

    found = find_model(model)
    own = to.resolve() == found.folder.resolve()
    with complete_folder(to, overwrite=overwrite) as folder:
        description = export_graphs(found, folder, prior=prior, own=own)
    return f"{description.model} as graphs: {', '.join(description.graphs)}"


def _write(
    recipe: str,
    parts: Path,
    folder: Path,
    *,
    prior: str | None,
    autoencoder: Path | None,
    base: Path | None,
    noted: Mapping[str, str],
    bits: int,
) -> str:
    """Write the folder, and return a line on what is in it."""
    from sdsr.checkpoints.weights import fill_from_run, run_facts, save_method
    from sdsr.embedded.recipes import read_prior, save_perceptual
    from sdsr.methods.trained import run_recipe
    from sdsr.prior.small_storage import save_small_prior

    if autoencoder is not None:
        return f"small prior, sha256 {save_small_prior(read_prior(autoencoder, parts), folder, bits=bits)}"
    if recipe == "small-perceptual":
        save_perceptual(parts, folder, run_facts(parts), bits=bits)
        return "small perceptual network"
    trained = run_recipe(METHODS[recipe], parts)
    restorer = trained.restoring.build(prior or noted.get("prior") or trained.prior)
    own = restorer.prior.sha256
    trained_on = noted.get("prior_sha256") or own
    if not restorer.prior.fits(trained_on):
        raise ModelError(
            f"parts (={parts}) were trained on the prior with sha256 {trained_on[:12]}, not on {restorer.prior.name}"
            f" ({own[:12]}); name theirs with --prior."
        )
    save_method(restorer, folder, trained, fill_from_run(restorer, parts), base=base, bits=bits)
    return f"{recipe} on prior {restorer.prior.name}, sha256 {own}"
