"""`sdsr convert`: a checkpoint that a method's authors published, as a folder that restores."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdsr.cli.folders import complete_folder
from sdsr.cli.tables import numbers, plain_table, print_tables
from sdsr.errors import ModelError, look_up
from sdsr.methods import converters

if TYPE_CHECKING:
    from torch import Tensor

    from sdsr.checkpoints.conversion import Published
    from sdsr.checkpoints.converted import Converted, Finding
    from sdsr.checkpoints.reading import Checkpoint

VERDICTS = {True: "yes", False: "no", None: "?"}


def convert(
    method: Annotated[str, typer.Argument(help=f"Whose checkpoint it is: {', '.join(converters())}.")],
    file: Annotated[
        Path, typer.Argument(help="The published file, .ckpt, .pth, .pt, .safetensors, or a folder of them.")
    ],
    to: Annotated[
        Path | None, typer.Option(help="Folder to write, a new or empty one; without it the file is only examined.")
    ] = None,
    prior: Annotated[
        str | None, typer.Option(help="The prior that it is to stand on, compared with; the published one by default.")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Accept a file with unknown or missing tensors.")] = False,
    keep_precision: Annotated[
        bool, typer.Option("--keep-precision", help="Don't turn float32 into float16: twice the size.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace the files of a folder that holds some.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Turn a published checkpoint into parts for `sdsr upscale --model FOLDER`, and tell what is in it.

    Nothing in the file is run: a pickle that asks for more than tensors is refused.
    """
    from sdsr.checkpoints.conversion import description, joined
    from sdsr.checkpoints.reading import read_checkpoint
    from sdsr.checkpoints.weights import write_parts
    from sdsr.methods.published import PUBLISHED
    from sdsr.prior.sources import resolve
    from sdsr.prior.stable_diffusion import prior_weight_files

    published = look_up(PUBLISHED, method, "method")
    noted = joined(published, file, to) if to and published.completes else None
    with complete_folder(to, overwrite=overwrite or noted is not None) if to else nullcontext() as folder:
        checkpoint = read_checkpoint(file)
        converted, tensors = _fitting(method, checkpoint, file, partial=partial)
        prior_folder = resolve(prior) if prior else None  # which may be a download
        if prior_folder:
            prior_weight_files(prior_folder)  # which it must have
        if folder:
            noted = noted or description(published, file, prior)
            write_parts(published.kept(converted), folder, noted, keep_precision=keep_precision)
    found = published.examine(tensors, converted, prior=prior_folder, image_encoder=_image_encoder(prior_folder))
    written = {"folder": str(to), **noted} if to and noted else {}
    if json:
        typer.echo(dumps({"method": method, **_facts(published, converted, checkpoint, found), **written}, indent=2))
    else:
        _print(published, converted, checkpoint, found)
        if written:
            typer.echo("{folder}: {recipe} on prior {prior}, sha256 {prior_sha256}".format(**written))


def _fitting(
    method: str, checkpoint: "Checkpoint", file: Path, *, partial: bool
) -> tuple["Converted", "Mapping[str, Tensor]"]:
    """What `converted_from` gives; an error tells of the methods whose checkpoint it is, where it is another's."""
    from sdsr.checkpoints.conversion import check_complete, converted_from, fitting
    from sdsr.methods.published import PUBLISHED

    try:
        converted, tensors = converted_from(PUBLISHED[method], checkpoint.tensors, file)
        if not partial:
            check_complete(converted, file)
    except ModelError as error:
        others = fitting(PUBLISHED, checkpoint.tensors, file)
        if others and method not in others:
            raise ModelError(f"{error} It fits: {', '.join(others)}.") from error
        raise
    return converted, tensors


def _image_encoder(prior: Path | None) -> Path | None:
    """OpenCLIP's image encoder before any method tuned it, where this machine has it."""
    from sdsr.prior.sources import SOURCES, locate

    own = prior / "image_encoder" if prior else None
    return own if own and own.is_dir() else locate(SOURCES["clip-vit-h"])


def _facts(
    published: "Published", converted: "Converted", checkpoint: "Checkpoint", findings: "Sequence[Finding]"
) -> dict[str, object]:
    """What a checkpoint holds and what was found out about it, as JSON has it."""
    return {
        "tensors": len(checkpoint.tensors),
        "used": _used(converted, checkpoint),
        "dropped": converted.dropped,
        "unknown": converted.unknown,
        "missing": converted.missing,
        "beside": sorted(checkpoint.others),
        "parts": {
            name: {"kept": name in published.parts, "tensors": len(part), "parameters": _size(part)}
            for name, part in converted.parts.items()
        },
        "findings": [asdict(finding) for finding in findings],
    }


def _print(
    published: "Published", converted: "Converted", checkpoint: "Checkpoint", findings: "Sequence[Finding]"
) -> None:
    parts = plain_table("part", "", *numbers("tensors", "parameters"))
    for name, part in converted.parts.items():
        whose = "kept" if name in published.parts else "the prior's"
        parts.add_row(name, whose, f"{len(part):,}", f"{_size(part):,}")
    print_tables([parts])
    if findings:
        table = plain_table("question", "", "figure", "meaning")
        for finding in findings:
            table.add_row(finding.name, VERDICTS[finding.holds], finding.figure, finding.meaning)
        print_tables([table])
    kinds = {"dropped": converted.dropped, "unknown": converted.unknown, "missing": converted.missing}
    counts = ", ".join(f"{len(names)} {kind}" for kind, names in kinds.items())
    typer.echo(f"{len(checkpoint.tensors)} tensors: {_used(converted, checkpoint)} used, {counts}")


def _used(converted: "Converted", checkpoint: "Checkpoint") -> int:
    return len(checkpoint.tensors) - len(converted.dropped) - len(converted.unknown)


def _size(part: "Mapping[str, Tensor]") -> int:
    return sum(tensor.numel() for tensor in part.values())
