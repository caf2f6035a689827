"""`sdsr upscale`: photos in, restored and enlarged photos out."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from sdsr.batch.amounts import parse_bytes
from sdsr.batch.bucket.planning import Bucket, Places, plan_bucket
from sdsr.batch.choosing import Choice
from sdsr.batch.estimate import estimate
from sdsr.batch.model import Model
from sdsr.batch.ray_cluster import Cluster
from sdsr.batch.settings import Settings
from sdsr.batch.shards import Shard
from sdsr.batch.templates import Template
from sdsr.batch.walking import Naming, Task, plan_named
from sdsr.cli.options import Device, KernelWidth, NoiseSeed, Prior, Steps
from sdsr.cli.printing import echo_line
from sdsr.cli.upscale_options import (
    Address,
    ColorFixName,
    Consistent,
    Decoder,
    DryRun,
    EngineChoice,
    EngineName,
    Exclude,
    Fidelity,
    FormatOption,
    Height,
    Include,
    JsonLines,
    Limit,
    MaxMegapixels,
    MaxOutputMegapixels,
    Mean,
    Megapixels,
    Memory,
    ModelName,
    NameTemplate,
    NoLabel,
    OffloadChoice,
    OffloadName,
    OnExistsChoice,
    Output,
    Overwrite,
    Passes,
    Photos,
    Prompt,
    Protect,
    Quality,
    Quiet,
    Scale,
    ShardName,
    Sign,
    Start,
    UntrainedStart,
    Width,
    WithReport,
    Workers,
    check_kernel_use,
    check_passes,
    engine_named,
    offload_named,
    on_exists,
)
from sdsr.cli.upscale_pipe import PIPE, restore_piped
from sdsr.cli.upscale_report import report as report_outcomes
from sdsr.cli.upscale_report import tell_estimate
from sdsr.errors import InputError
from sdsr.models import DEFAULT_MODEL
from sdsr.photos.credentials import read_signer
from sdsr.photos.formats import BY_NAME
from sdsr.photos.limits import limits_of
from sdsr.photos.sizes import check_scale
from sdsr.photos.sources import is_pipe
from sdsr.photos.urls import without_file_scheme
from sdsr.request import Request
from sdsr.restoration.places import parse_place

if TYPE_CHECKING:
    from sdsr.cli.upscale_pages import Pages
    from sdsr.jobs import JobMaker

_WITHOUT_LABEL = (
    "sdsr: --no-label leaves out of the XMP: that a model had a part in the picture (DigitalSourceType), which one "
    "(AISystemUsed, AISystemVersionUsed), and the step: weights, settings, seed, prompt, sha256 of the photo."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The model that was asked for, where it finds its parts, and what computes it."""

    model: str
    prior: str | None
    device: str | None
    engine: EngineChoice
    decoder: Path | None
    offload: OffloadChoice

    def described(self, request: Request) -> Model:
        """Return the model by its description and its decoder's, before anything of it is loaded."""
        described = Model.described(self.model, partial(self.load, request), self.load_float32)
        if self.decoder is None:
            return described
        from sdsr.digests import combined_sha256
        from sdsr.prior.tiny_decoder import decoder_sha256

        return replace(described, sha256=combined_sha256([described.sha256, decoder_sha256(self.decoder)]))

    def load(self, request: Request, photos: int = 1) -> "JobMaker":
        """Return it, ready to restore so many photos; InputError for a device, steps or a start that can't be."""
        from sdsr.engines import load_model

        maker = load_model(
            self.model,
            engine=engine_named(self.engine),
            prior=self.prior,
            device=self.device,
            photos=photos,
            decoder=self.decoder,
            offload=offload_named(self.offload),
        )
        _check_plan(maker, request)
        return maker

    def load_float32(self) -> "JobMaker | None":
        from sdsr.engines import load_float32

        return load_float32(
            self.model,
            engine=engine_named(self.engine),
            prior=self.prior,
            device=self.device,
            decoder=self.decoder,
            offload=offload_named(self.offload),
        )


def upscale(
    photos: Photos,
    output: Output = None,
    scale: Scale = None,
    width: Width = None,
    height: Height = None,
    megapixels: Megapixels = None,
    model: ModelName = DEFAULT_MODEL,
    prior: Prior = None,
    decoder: Decoder = None,
    steps: Steps = None,
    start: Start = None,
    untrained_start: UntrainedStart = False,
    seed: NoiseSeed = 0,
    device: Device = None,
    offload: OffloadName = "auto",
    engine: EngineName = "auto",
    address: Address = None,
    workers: Workers = None,
    memory: Memory = None,
    prompt: Prompt = None,
    fidelity: Fidelity = None,
    color_fix: ColorFixName = None,
    consistent: Consistent = False,
    kernel_width: KernelWidth = None,
    protect: Protect = None,
    passes: Passes = None,
    mean: Mean = False,
    report: WithReport = False,
    sign: Sign = None,
    format: FormatOption = None,
    no_label: NoLabel = False,
    quality: Quality = None,
    shard: ShardName = None,
    include: Include = None,
    exclude: Exclude = None,
    limit: Limit = None,
    max_megapixels: MaxMegapixels = None,
    max_output_megapixels: MaxOutputMegapixels = None,
    dry_run: DryRun = False,
    name: NameTemplate = None,
    if_exists: OnExistsChoice = None,
    overwrite: Overwrite = False,
    json: JsonLines = False,
    quiet: Quiet = False,
) -> None:
    """Restore and enlarge photos: one, several, folders with all that is in them, or standard input.

    A folder's results keep its tree, and a run that was stopped goes on where it was when it is started again. A photo
    that can't be restored is reported, and the others go on; the exit code is then 1, or 2 if none could be.
    """
    request = Request(
        scale=scale,
        width=width,
        height=height,
        megapixels=megapixels,
        seed=seed,
        steps=steps,
        start=_start(start),
        untrained_start=untrained_start,
        prompt=prompt,
        fidelity=fidelity,
        color_fix=color_fix,
        memory_bytes=parse_bytes(memory) if memory else None,
        label=not no_label,
        consistent=consistent,
        kernel_width=kernel_width,
        protect=tuple([parse_place(each) for each in protect or ()]),
        mean_of=passes or 1 if mean else 1,
    )
    settings = Settings(
        request=request,
        format=format and BY_NAME[format],
        quality=quality,
        on_exists=on_exists(if_exists, overwrite=overwrite),
        passes=passes or 1,
        limits=limits_of(max_megapixels, max_output_megapixels),
    )
    if sign is not None:
        settings = replace(settings, signer=read_signer(*sign))
    if scale is not None:
        check_scale(scale)
        request.size(64, 64)  # where another size is wanted too
    check_passes(passes, report=report, mean=mean)
    check_kernel_use(kernel_width, consistent=consistent, report=report)
    part = None if shard is None else Shard.parse(shard)
    choice = Choice(include=tuple(include or ()), exclude=tuple(exclude or ()))
    template = None if name is None else Template.parse(name)
    of_many = {"--shard": part, "--include": include, "--exclude": exclude, "--limit": limit, "--name": name}
    of_many["--dry-run"] = dry_run
    photos = [without_file_scheme(photo) for photo in photos]
    output = output and without_file_scheme(output)
    piped = _piped(photos, output, json=json, report=report, of_many=[each for each, said in of_many.items() if said])
    wanted = _Wanted(model=model, prior=prior, device=device, engine=engine, decoder=decoder, offload=offload)
    if no_label and not quiet:
        typer.echo(_WITHOUT_LABEL, err=True)
    with _terminated_like_interrupted():
        if piped:
            restore_piped(photos[0], output, partial(wanted.load, request), settings)
            return
        described = wanted.described(request)
        naming = Naming(request=request, format=settings.format, template=template, model=described.name)
        tasks, bucket = _planned(photos, output, naming, alone=part is not None)
        tasks = choice.of(tasks) if include or exclude else tasks
        tasks = tasks if part is None else _part(tasks, part, quiet=json or quiet)
        described = replace(described, load=partial(wanted.load, request, photos=len(tasks)))
        if bucket is not None:
            _check_of_files(bucket, {"--dry-run": dry_run, "--report": report})
        if dry_run:
            tell_estimate(estimate(tasks, described, settings, limit=limit), json=json)
            return
        pages = _pages(model, settings) if report else None
        tally = report_outcomes(
            tasks,
            described,
            settings,
            json=json,
            quiet=quiet,
            beside=pages,
            limit=limit,
            cluster=_cluster(engine, address, workers),
            bucket=bucket,
        )
        if pages is not None:
            overviews = pages.overviews(tasks)
            if not (json or quiet):
                for page in pages.alone(tasks):
                    echo_line(f"{page}: how far to believe it")
                for page in overviews:
                    echo_line(f"{page}: report of all")
    if tally.photos["failed"]:
        raise typer.Exit(2 if tally.photos["failed"] == tally.photos.total() else 1)


def _planned(
    photos: list[Path], output: Path | None, naming: Naming, *, alone: bool
) -> tuple[list[Task], Bucket | None]:
    """Return what is to do, and the bucket that photos and results are in, if they are in one."""
    places = Places.of(photos, output)
    if places is not None:
        return plan_bucket(places, naming, alone=alone)
    return plan_named(photos, naming, output=output), None


def _check_of_files(bucket: Bucket, options: Mapping[str, bool]) -> None:
    """Raise InputError for an option that was given and is of files, where photos are in a bucket."""
    given = next((option for option, said in options.items() if said), None)
    if given is not None:
        raise InputError(
            f"{given} is of files, and {bucket.places.photos} is a bucket; leave it out, or copy some photos here."
        )


def _cluster(engine: EngineChoice, address: str | None, workers: int | None) -> Cluster | None:
    """Return the cluster that restores; None for this process. InputError for what means nothing without one."""
    if engine == "ray":
        return Cluster(address=address, workers=workers)
    for option, said in (("--address", address), ("--workers", workers)):
        if said is not None:
            raise InputError(f"{option} (={said}) is of a Ray cluster; add --engine ray, or leave it out.")
    return None


def _part(tasks: list[Task], shard: Shard, *, quiet: bool) -> list[Task]:
    """Return the tasks of a shard, and tell how many they are."""
    ours = shard.of(tasks)
    if not quiet:
        typer.echo(f"sdsr: shard {shard.number}/{shard.count}: {len(ours)} of {len(tasks)} photos.", err=True)
    return ours


def _piped(photos: list[Path], output: Path | None, *, json: bool, report: bool, of_many: list[str]) -> bool:
    """Whether one photo comes or goes through a pipe; raise InputError for what can't stand beside that."""
    pipes = [photo for photo in photos if photo == PIPE or is_pipe(photo)]
    if not pipes and output != PIPE:
        return False
    if len(photos) != 1:
        raise InputError(f"{pipes[0] if pipes else PIPE} (={len(photos)} photos) stands for one photo; give only that.")
    if report:
        raise InputError("--report can't stand beside -, as it is written beside a file; leave it out, or name files.")
    if of_many:
        raise InputError(f"{of_many[0]} is for many photos, and - stands for one; leave it out.")
    if json:
        raise InputError("--json can't stand beside -, whose output is the photo; leave one out.")
    return True


def _start(text: str | None) -> int | Literal["auto"] | None:
    if text is None or text == "auto":
        return text
    if not text.isdecimal():
        raise InputError(f"start (={text}) must be a whole number or auto; try auto.")
    return int(text)


def _pages(model: str, settings: Settings) -> "Pages":
    from sdsr.cli.upscale_pages import Pages  # which compares pictures, and loads torch

    return Pages(model=model, settings=settings)


def _check_plan(maker: "JobMaker", request: Request) -> None:
    """Raise InputError, before any photo is read, for a plan that the method has not; warn of an untrained start."""
    maker.plan(request.wishes)
    if maker.starts and request.start not in (None, "auto", *maker.starts):
        typer.echo(
            f"sdsr: warning: start (={request.start}) is none that {maker.name} was trained at "
            f"({', '.join(map(str, maker.starts))}); the result may be off.",
            err=True,
        )


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does, so that nothing half-written is left."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
