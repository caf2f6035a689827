"""What `sdsr upscale` can be told, each with the sentence that `--help` shows; a class for each of its panels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from sdsr.batch.ray_cluster import Cluster
from sdsr.batch.settings import OnExists
from sdsr.cli.options import Device, KernelWidth, Prior, Steps
from sdsr.errors import InputError
from sdsr.models import DEFAULT_MODEL
from sdsr.photos.formats import FormatName
from sdsr.prior.facts import Offload
from sdsr.request import ColorFix

MOST_PASSES = 8

EngineChoice = Literal["auto", "torch", "onnx", "openvino", "coreml", "directml", "ray"]
OffloadChoice = Literal["auto", "none", "model", "sequential"]

Photos = Annotated[
    list[Path], typer.Argument(readable=False, help="Photos, folders of photos, or - for standard input.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Basics:
    """What most people say: where the result goes, how large it is, and what makes it."""

    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            readable=False,
            help="A file, a folder, or - for standard output; beside the photo by default.",
        ),
    ] = None
    scale: Annotated[float | None, typer.Option(help="How many times longer each side gets; 4 by default.")] = None
    width: Annotated[int | None, typer.Option(min=1, help="Width of the result in pixels.")] = None
    height: Annotated[int | None, typer.Option(min=1, help="Height of the result in pixels.")] = None
    megapixels: Annotated[float | None, typer.Option(help="Millions of pixels of the result.")] = None
    model: Annotated[
        str, typer.Option(help="A method (`sdsr models` tells what each needs), or a folder of a trained one.")
    ] = DEFAULT_MODEL
    fidelity: Annotated[
        float | None, typer.Option(help="0 (the model's details) to 1 (the photo's), where the method has a choice.")
    ] = None
    format: Annotated[FormatName | None, typer.Option(help="Format of the result; the photo's own by default.")] = None
    quality: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Of lossy formats; 95 by default, and lossless stays lossless."),
    ] = None
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    """Which of many photos are restored, what results are called, and what is done where there are some."""

    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Only photos that it fits, like '*.jpg' or 'holiday/**'; case doesn't count; repeatable.",
        ),
    ] = None
    exclude: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="No photos that it fits; repeatable.")] = (
        None
    )
    limit: Annotated[
        int | None, typer.Option(min=1, help="Restore no more than so many photos; those found finished don't count.")
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Restore nothing: tell photos, megapixels, and, from a short probe, time and disk; fail if it can't "
            "hold.",
        ),
    ] = False
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="TEMPLATE",
            help="Names of results without suffix, of {stem}, {size}, {folder}, {model}, {seed}; / makes folders.",
        ),
    ] = None
    on_exists: Annotated[
        OnExists | None,
        typer.Option(
            "--on-exists",
            help="Where a folder's result is there: skip it if it is finished (the default; it is made again if photo "
            "or settings changed), verify it by reading it, or replace whatever is there unfinished or foreign.",
        ),
    ] = None
    overwrite: Annotated[bool, typer.Option(help="The same as --on-exists replace.")] = False
    labeled: Annotated[
        bool,
        typer.Option(
            "--labeled",
            help="Restore also what is in a folder and was restored before, by its label; skipped by default.",
        ),
    ] = False
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="K/N", help="Only the K-th of N parts of the photos; equal on every machine."),
    ] = None
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line per photo; docs/at-scale.md has fields.")
    ] = False

    @property
    def existing(self) -> OnExists:
        """What is done where a result is there; InputError where two options say different things."""
        if self.overwrite and self.on_exists not in (None, "replace"):
            raise InputError(
                f"--on-exists {self.on_exists} and --overwrite contradict each other; leave one of them out."
            )
        return "replace" if self.overwrite else self.on_exists or "skip"

    def said(self) -> list[str]:
        """Return the options that were given and mean nothing for a photo from a pipe or to one."""
        of_many = {"--shard": self.shard, "--include": self.include, "--exclude": self.exclude}
        of_many |= {"--limit": self.limit, "--name": self.name, "--dry-run": self.dry_run, "--labeled": self.labeled}
        return [option for option, given in of_many.items() if given]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How far a result can be believed, and what it says of itself."""

    consistent: Annotated[
        bool, typer.Option("--consistent", help="Make the result, reduced to the photo's size, the photo again.")
    ] = False
    protect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLACE",
            help="LEFT,TOP,WIDTH,HEIGHT in pixels of the photo, or text, which is looked for: there the photo is "
            "enlarged and nothing invented; repeatable.",
        ),
    ] = None
    report: Annotated[
        bool, typer.Option("--report", help="Write a page beside each result that tells how far to believe it.")
    ] = False
    passes: Annotated[
        int | None,
        typer.Option(
            help="Restore each photo so often (2 to 8), mirrored, to see where passes disagree; costs as much."
        ),
    ] = None
    mean: Annotated[
        bool, typer.Option("--mean", help="The mean of the passes is the result, instead of the first.")
    ] = False
    kernel_width: KernelWidth = None
    no_label: Annotated[
        bool,
        typer.Option(
            "--no-label",
            help="Leave out the XMP that says what was done: IPTC's source type, AI system and its version; "
            "model, settings, seed, and sha256 of the photo.",
        ),
    ] = False
    sign: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="CERT KEY", help="Sign Content Credentials (C2PA): chain of certificates and private key, PEM."
        ),
    ] = None

    def check(self) -> None:
        """Raise InputError for passes or a kernel's width that can't be, or that nothing is made of."""
        if self.passes is None and self.mean:
            raise InputError(f"--mean needs --passes 2 ... {MOST_PASSES}, whose mean is the result; try --passes 4.")
        if self.passes is not None and not 2 <= self.passes <= MOST_PASSES:
            raise InputError(
                f"passes (={self.passes}) must be in 2 ... {MOST_PASSES}; one pass has nothing to disagree with."
            )
        if self.passes is not None and not (self.report or self.mean):
            raise InputError(
                f"passes (={self.passes}) are made for --report, to see where they disagree, or --mean; add one of "
                "them."
            )
        if self.kernel_width is None:
            return
        from sdsr.images.reducing import check_kernel_width  # loads NumPy, which a finished folder needs not

        check_kernel_width(self.kernel_width)
        if not (self.consistent or self.report):
            raise InputError(
                f"kernel width (={self.kernel_width:g}) is what --consistent and --report compare by; add one of them, "
                "or leave it out."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What computes, and with how much memory."""

    device: Device = None
    engine: Annotated[
        EngineChoice,
        typer.Option(
            metavar="ENGINE",
            help="torch, or graphs of the model: onnx is ONNX Runtime on the CPU, the default there unless a probe "
            "finds openvino (extra fast), coreml or directml faster; or ray: a cluster, whose workers take what suits "
            "them.",
        ),
    ] = "auto"
    memory: Annotated[str | None, typer.Option(help="Most to use at once, like 8GB; what is free by default.")] = None
    offload: Annotated[
        OffloadChoice,
        typer.Option(
            metavar="WAY",
            help="Which weights an accelerator holds at once: all (none), those of the part that computes (model), or "
            "of the layer (sequential), for 4 GB and less; auto: as many as it has memory for.",
        ),
    ] = "auto"
    decoder: Annotated[
        Path | None,
        typer.Option(
            readable=False,
            help="A tiny decoder in place of the prior's, for speed: a folder of diffusers' AutoencoderTiny, or a "
            "weight file, as of madebyollin/taesd.",
        ),
    ] = None
    max_megapixels: Annotated[
        float | None,
        typer.Option(min=0.01, metavar="MP", help="The largest photo that is read; 200 by default, against bombs."),
    ] = None
    max_output_megapixels: Annotated[
        float | None, typer.Option(min=0.01, metavar="MP", help="The largest result that is made; 400 by default.")
    ] = None
    address: Annotated[
        str | None,
        typer.Option(help="Of a Ray cluster: auto, or HOST:PORT; with --engine ray, this machine by default."),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --engine ray, how many; by default one for each accelerator, or for four cores."
        ),
    ] = None

    @property
    def runtime(self) -> Literal["torch", "onnx", "openvino", "coreml", "directml"] | None:
        """The engine that was named; None leaves it to the model and the machine."""
        return None if self.engine in ("auto", "ray") else self.engine

    @property
    def offloaded(self) -> Offload | None:
        """Which weights are held at once; None leaves it to the accelerator's memory."""
        return None if self.offload == "auto" else self.offload

    @property
    def cluster(self) -> Cluster | None:
        """The cluster that restores; None for this process. InputError for what means nothing without one."""
        if self.engine == "ray":
            return Cluster(address=self.address, workers=self.workers)
        for option, said in (("--address", self.address), ("--workers", self.workers)):
            if said is not None:
                raise InputError(f"{option} (={said}) is of a Ray cluster; add --engine ray, or leave it out.")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expert:
    """What a method's paper speaks of."""

    steps: Steps = None
    start: Annotated[
        str | None, typer.Option(help="Time to start at, where the method has a choice (InvSR: 250 ... 100), or auto.")
    ] = None
    untrained_start: Annotated[
        bool, typer.Option("--untrained-start", help="Take a start that the method was not trained at.")
    ] = False
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of the noise, 0 by default; changes nothing where none is drawn (d3sr-small)."),
    ] = None
    prompt: Annotated[str | None, typer.Option(help="What the photo shows, where the method listens.")] = None
    color_fix: Annotated[ColorFix | None, typer.Option(help="How colors are taken from the photo.")] = None
    prior: Prior = None

    @property
    def begin(self) -> int | Literal["auto"] | None:
        """The start as a number, if it is one."""
        if self.start is None or self.start == "auto":
            return self.start
        if not self.start.isdecimal():
            raise InputError(f"start (={self.start}) must be a whole number or auto; try auto.")
        return int(self.start)
