"""`sdsr convert`: a checkpoint that a method's authors published, as a folder that restores."""

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdsr.cli.folders import complete_folder

if TYPE_CHECKING:
    from sdsr.checkpoints.conversion import Published
    from sdsr.checkpoints.converted import Converted
    from sdsr.checkpoints.reading import Checkpoint

VERDICTS = {True: "yes", False: "no", None: "?"}


def convert(
    method: Annotated[str, typer.Argument(help="Whose checkpoint it is: consissr, stablesr, stablesr-cfw ...")],
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
    from sdsr.checkpoints.conversion import check_complete, converted_from, description, joined
    from sdsr.checkpoints.reading import read_checkpoint
    from sdsr.errors import InputError
    from sdsr.methods.published import PUBLISHED
    from sdsr.methods.weights import write_parts
    from sdsr.prior.sources import resolve

    if method not in PUBLISHED:
        raise InputError(f"method (={method}) must be one of {', '.join(PUBLISHED)}.")
    published = PUBLISHED[method]
    prior_folder = resolve(prior) if prior else None
    noted = joined(published, file, to) if to and published.completes else None
    with complete_folder(to, overwrite=overwrite or noted is not None) if to else nullcontext() as folder:
        checkpoint = read_checkpoint(file)
        converted, tensors = converted_from(published, checkpoint.tensors, file)
        if not partial:
            check_complete(converted, file)
        report = _report(method, published, converted, checkpoint)
        if folder:
            noted = noted or description(published, file, prior)
            write_parts(published.kept(converted), folder, noted, keep_precision=keep_precision)
            report |= {"folder": str(to), **noted}
    found = published.examine(tensors, converted, prior=prior_folder, image_encoder=_image_encoder(prior_folder))
    report["findings"] = [asdict(finding) for finding in found]
    _print(report, json=json)


def _image_encoder(prior: Path | None) -> Path | None:
    """OpenCLIP's image encoder before any method tuned it, where this machine has it."""
    from sdsr.prior.sources import SOURCES, locate

    own = prior / "image_encoder" if prior else None
    return own if own and own.is_dir() else locate(SOURCES["clip-vit-h"])


def _report(method: str, published: "Published", converted: "Converted", checkpoint: "Checkpoint") -> dict[str, Any]:
    """What the file holds and what becomes of it, as `--json` prints it."""
    tensors = len(checkpoint.tensors)
    return {
        "method": method,
        "tensors": tensors,
        "used": tensors - len(converted.dropped) - len(converted.unknown),
        "dropped": list(converted.dropped),
        "unknown": list(converted.unknown),
        "missing": list(converted.missing),
        "beside": sorted(checkpoint.others),
        "parts": {
            name: {
                "kept": name in published.parts,
                "tensors": len(part),
                "parameters": sum(tensor.numel() for tensor in part.values()),
            }
            for name, part in converted.parts.items()
        },
    }


def _print(report: dict[str, Any], *, json: bool) -> None:
    if json:
        import json as encoder

        typer.echo(encoder.dumps(report, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    parts = Table("part", "", box=None, padding=(0, 2, 0, 0))
    parts.add_column("tensors", justify="right")
    parts.add_column("parameters", justify="right")
    for name, part in report["parts"].items():
        kept = "kept" if part["kept"] else "the prior's"
        parts.add_row(name, kept, f"{part['tensors']:,}", f"{part['parameters']:,}")
    console.print(parts, end="\n\n")
    if report["findings"]:
        findings = Table("question", "", "figure", "meaning", box=None, padding=(0, 2, 0, 0))
        for finding in report["findings"]:
            findings.add_row(finding["name"], VERDICTS[finding["holds"]], finding["figure"], finding["meaning"])
        console.print(findings, end="\n\n")
    counts = ", ".join(f"{len(report[kind])} {kind}" for kind in ("dropped", "unknown", "missing"))
    typer.echo(f"{report['tensors']} tensors: {report['used']} used, {counts}")
    if "folder" in report:
        typer.echo(
            f"{report['folder']}: {report['recipe']} on prior {report['prior']}, sha256 {report['prior_sha256']}"
        )
