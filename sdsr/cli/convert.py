"""`sdsr convert`: a checkpoint that a method's authors published, as a folder that restores."""

from contextlib import nullcontext
from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdsr.cli.folders import complete_folder
from sdsr.cli.tables import numbers, plain_table, print_tables
from sdsr.errors import look_up

if TYPE_CHECKING:
    from sdsr.checkpoints.converted import Converted, Finding
    from sdsr.checkpoints.reading import Checkpoint

VERDICTS = {True: "yes", False: "no", None: "?"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """A part in a checkpoint: whether it is kept or the prior's, and its size."""

    kept: bool
    tensors: int
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a checkpoint holds, what was found out about it, and in `noted` what the folder says that it became."""

    method: str
    tensors: int
    used: int
    dropped: tuple[str, ...]
    unknown: tuple[str, ...]
    missing: tuple[str, ...]
    beside: tuple[str, ...]
    parts: dict[str, PartReport]
    noted: dict[str, object]
    findings: "tuple[Finding, ...]"

    def json(self) -> str:
        facts = asdict(self)
        return dumps({**facts, **facts.pop("noted")}, indent=2)


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
    from sdsr.checkpoints.weights import write_parts
    from sdsr.methods.published import PUBLISHED
    from sdsr.prior.sources import resolve

    published = look_up(PUBLISHED, method, "method")
    noted = joined(published, file, to) if to and published.completes else None
    with complete_folder(to, overwrite=overwrite or noted is not None) if to else nullcontext() as folder:
        checkpoint = read_checkpoint(file)
        converted, tensors = converted_from(published, checkpoint.tensors, file)
        if not partial:
            check_complete(converted, file)
        prior_folder = resolve(prior) if prior else None  # which may be a download
        if folder:
            noted = noted or description(published, file, prior)
            write_parts(published.kept(converted), folder, noted, keep_precision=keep_precision)
    found = published.examine(tensors, converted, prior=prior_folder, image_encoder=_image_encoder(prior_folder))
    written = {"folder": str(to), **noted} if to and noted else {}
    report = _report(method, converted, checkpoint, written, found)
    if json:
        typer.echo(report.json())
    else:
        _print(report)


def _image_encoder(prior: Path | None) -> Path | None:
    """OpenCLIP's image encoder before any method tuned it, where this machine has it."""
    from sdsr.prior.sources import SOURCES, locate

    own = prior / "image_encoder" if prior else None
    return own if own and own.is_dir() else locate(SOURCES["clip-vit-h"])


def _report(
    method: str,
    converted: "Converted",
    checkpoint: "Checkpoint",
    noted: dict[str, object],
    findings: "tuple[Finding, ...]",
) -> Report:
    from sdsr.methods.published import PUBLISHED

    tensors = len(checkpoint.tensors)
    parts = {
        name: PartReport(
            kept=name in PUBLISHED[method].parts,
            tensors=len(part),
            parameters=sum(tensor.numel() for tensor in part.values()),
        )
        for name, part in converted.parts.items()
    }
    return Report(
        method=method,
        tensors=tensors,
        used=tensors - len(converted.dropped) - len(converted.unknown),
        dropped=converted.dropped,
        unknown=converted.unknown,
        missing=converted.missing,
        beside=tuple(sorted(checkpoint.others)),
        parts=parts,
        noted=noted,
        findings=findings,
    )


def _print(report: Report) -> None:
    parts = plain_table("part", "", *numbers("tensors", "parameters"))
    for name, part in report.parts.items():
        parts.add_row(name, "kept" if part.kept else "the prior's", f"{part.tensors:,}", f"{part.parameters:,}")
    print_tables([parts])
    if report.findings:
        findings = plain_table("question", "", "figure", "meaning")
        for finding in report.findings:
            findings.add_row(finding.name, VERDICTS[finding.holds], finding.figure, finding.meaning)
        print_tables([findings])
    kinds = {"dropped": report.dropped, "unknown": report.unknown, "missing": report.missing}
    counts = ", ".join(f"{len(names)} {kind}" for kind, names in kinds.items())
    typer.echo(f"{report.tensors} tensors: {report.used} used, {counts}")
    noted = report.noted
    if noted:
        typer.echo(f"{noted['folder']}: {noted['recipe']} on prior {noted['prior']}, sha256 {noted['prior_sha256']}")
