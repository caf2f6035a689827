"""What `sdsr upscale` can be told, each with the sentence that `--help` shows."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sdsr.batch.settings import OnExists
from sdsr.errors import InputError
from sdsr.photos.formats import FormatName
from sdsr.prior.facts import Offload
from sdsr.request import ColorFix

MOST_PASSES = 8


EngineChoice = Literal["auto", "torch", "onnx", "openvino", "coreml", "directml", "ray"]
OffloadChoice = Literal["auto", "none", "model", "sequential"]

Photos = Annotated[
    list[Path], typer.Argument(readable=False, help="Photos, folders of photos, or - for standard input.")
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        readable=False,
        help="A file, a folder, or - for standard output; beside the photo by default.",
    ),
]
Scale = Annotated[float | None, typer.Option(help="How many times longer each side gets; 4 by default.")]
Width = Annotated[int | None, typer.Option(min=1, help="Width of the result in pixels.")]
Height = Annotated[int | None, typer.Option(min=1, help="Height of the result in pixels.")]
Megapixels = Annotated[float | None, typer.Option(help="Millions of pixels of the result.")]
MaxMegapixels = Annotated[
    float | None, typer.Option(min=0.01, help="The largest photo that is read; 200 by default, against bombs.")
]
MaxOutputMegapixels = Annotated[
    float | None, typer.Option(min=0.01, help="The largest result that is made; 400 by default.")
]
ModelName = Annotated[str, typer.Option(help="A method (`sdsr models`), or a folder of a trained one.")]
EngineName = Annotated[
    EngineChoice,
    typer.Option(
        help="torch, or graphs of the model: onnx is ONNX Runtime on the CPU, the default there unless a probe finds "
        "openvino (extra fast), coreml or directml faster; or ray: a cluster, whose workers take what suits them."
    ),
]
Address = Annotated[
    str | None, typer.Option(help="Of a Ray cluster: auto, or HOST:PORT; with --engine ray, this machine by default.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="With --engine ray, how many; by default one for each accelerator, or for four cores."),
]
Decoder = Annotated[
    Path | None,
    typer.Option(
        readable=False,
        help="A tiny decoder in place of the prior's, for speed: a folder of diffusers' AutoencoderTiny, or a weight "
        "file, as of madebyollin/taesd.",
    ),
]
OffloadName = Annotated[
    OffloadChoice,
    typer.Option(
        help="Which weights an accelerator holds at once: all (none), those of the part that computes (model), or of "
        "the layer (sequential), for 4 GB and less; auto: as many as it has memory for."
    ),
]
Start = Annotated[
    str | None, typer.Option(help="Time to start at, where the method has a choice (InvSR: 250 ... 100), or auto.")
]
UntrainedStart = Annotated[
    bool, typer.Option("--untrained-start", help="Take a start that the method was not trained at.")
]
Memory = Annotated[str | None, typer.Option(help="Most to use at once, like 8GB; what is free by default.")]
Prompt = Annotated[str | None, typer.Option(help="What the photo shows, where the method listens.")]
Fidelity = Annotated[
    float | None, typer.Option(help="0 (the model's details) to 1 (the photo's), where the method has a choice.")
]
ColorFixName = Annotated[ColorFix | None, typer.Option(help="How colors are taken from the photo.")]
Consistent = Annotated[
    bool, typer.Option("--consistent", help="Make the result, reduced to the photo's size, the photo again.")
]
Protect = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PLACE",
        help="LEFT,TOP,WIDTH,HEIGHT in pixels of the photo, or text, which is looked for: there the photo is enlarged "
        "and nothing invented; repeatable.",
    ),
]
FormatOption = Annotated[FormatName | None, typer.Option(help="Format of the result; the photo's own by default.")]
NoLabel = Annotated[
    bool,
    typer.Option(
        "--no-label",
        help="Leave out the XMP that says what was done: IPTC's source type, AI system and its version; "
        "model, settings, seed, and sha256 of the photo.",
    ),
]
Sign = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        metavar="CERT KEY", help="Sign Content Credentials (C2PA): chain of certificates and private key, PEM."
    ),
]
Quality = Annotated[
    int | None,
    typer.Option(min=1, max=100, help="Of lossy formats; 95 by default, and lossless stays lossless."),
]
WithReport = Annotated[
    bool, typer.Option("--report", help="Write a page beside each result that tells how far to believe it.")
]
Passes = Annotated[
    int | None,
    typer.Option(help="Restore each photo so often (2 to 8), mirrored, to see where passes disagree; costs as much."),
]
Mean = Annotated[bool, typer.Option("--mean", help="The mean of the passes is the result, instead of the first.")]
ShardName = Annotated[
    str | None,
    typer.Option("--shard", metavar="K/N", help="Only the K-th of N parts of the photos; equal on every machine."),
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GLOB", help="Only photos that it fits, like '*.jpg' or 'holiday/**'; case doesn't count; repeatable."
    ),
]
Exclude = Annotated[list[str] | None, typer.Option(metavar="GLOB", help="No photos that it fits; repeatable.")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Restore no more than so many photos; those found finished don't count.")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Restore nothing: tell photos, megapixels, and, from a short probe, time and disk; fail if it can't hold.",
    ),
]
NameTemplate = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="TEMPLATE",
        help="Names of results without suffix, of {stem}, {size}, {folder}, {model}, {seed}; / makes folders.",
    ),
]
OnExistsChoice = Annotated[
    OnExists | None,
    typer.Option(
        "--on-exists",
        help="Where a result is there: skip it if it is finished (the default; it is made again if photo or settings "
        "changed), verify it by reading it, or replace whatever is there unfinished or foreign.",
    ),
]
Overwrite = Annotated[bool, typer.Option(help="The same as --on-exists replace.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON line per photo; docs/at-scale.md has fields.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]


def engine_named(choice: EngineChoice) -> Literal["torch", "onnx", "openvino", "coreml", "directml"] | None:
    """Return the engine that was named; None leaves it to the model and the machine."""
    return None if choice in ("auto", "ray") else choice


def offload_named(choice: OffloadChoice) -> Offload | None:
    """Return the way that was named; None leaves it to the accelerator's memory."""
    return None if choice == "auto" else choice


def on_exists(choice: OnExists | None, *, overwrite: bool) -> OnExists:
    """Return what is done where a result is there; raise InputError where two options say different things."""
    if overwrite and choice not in (None, "replace"):
        raise InputError(f"--on-exists {choice} and --overwrite contradict each other; leave one of them out.")
    return "replace" if overwrite else choice or "skip"


def check_passes(passes: int | None, *, report: bool, mean: bool) -> None:
    """Raise InputError for a number of passes that can't be, or that nothing is made of."""
    if passes is None:
        if mean:
            raise InputError(f"--mean needs --passes 2 ... {MOST_PASSES}, whose mean is the result; try --passes 4.")
        return
    if not 2 <= passes <= MOST_PASSES:
        raise InputError(f"passes (={passes}) must be in 2 ... {MOST_PASSES}; one pass has nothing to disagree with.")
    if not (report or mean):
        raise InputError(
            f"passes (={passes}) are made for --report, to see where they disagree, or --mean; add one of them."
        )


def check_kernel_use(kernel_width: float | None, *, consistent: bool, report: bool) -> None:
    """Raise InputError for a width of the photo's kernel that can't be, or that nothing is compared by."""
    if kernel_width is None:
        return
    from sdsr.images.reducing import check_kernel_width  # loads NumPy, which a finished folder needs not

    check_kernel_width(kernel_width)
    if not (consistent or report):
        raise InputError(
            f"kernel width (={kernel_width:g}) is what --consistent and --report compare by; add one of them, or leave "
            "it out."
        )
