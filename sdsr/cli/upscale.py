"""`sdsr upscale`: photos in, restored and enlarged photos out."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdsr.batch.amounts import parse_bytes
from sdsr.batch.bucket.planning import Bucket, Places, plan_bucket
from sdsr.batch.choosing import Choice
from sdsr.batch.desk import Batch
from sdsr.batch.model import Model
from sdsr.batch.settings import Settings
from sdsr.batch.shards import Shard
from sdsr.batch.templates import Template
from sdsr.batch.walking import Naming, Task, plan
from sdsr.cli.printing import echo_line
from sdsr.cli.upscale_options import Basics, Expert, Machine, Many, Photos, Trust
from sdsr.cli.upscale_pipe import PIPE, restore_piped
from sdsr.cli.upscale_report import report as report_outcomes
from sdsr.cli.upscale_report import tell_estimate
from sdsr.digests import combined_sha256
from sdsr.errors import InputError
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
    """The model that was asked for, where it finds its parts, what computes it, and what it is to do.

    `seeded` says whether a seed was given that is to be spoken of where it changes nothing.
    """

    model: str
    prior: str | None
    machine: Machine
    request: Request
    seeded: bool

    def described(self) -> Model:
        """Return the model by its description and its decoder's, before anything of it is loaded."""
        described = Model.described(self.model, self.load)
        decoder = self.machine.decoder
        if decoder is None:
            return described
        from sdsr.prior.tiny_decoder import decoder_sha256

        return replace(described, sha256=combined_sha256([described.sha256, decoder_sha256(decoder)]))

    def load(self, photos: int = 1) -> "JobMaker":
        """Return it, ready to restore so many photos; InputError for a device, steps or a start that can't be."""
        from sdsr.engines import load_model

        maker = load_model(
            self.model,
            engine=self.machine.runtime,
            prior=self.prior,
            device=self.machine.device,
            photos=photos,
            decoder=self.machine.decoder,
            offload=self.machine.offloaded,
        )
        _check_plan(maker, self.request, seeded=self.seeded)
        return maker


def upscale(
    photos: Photos,
    basics: Basics,
    many: Annotated[Many, "Folders and resuming"],
    trust: Annotated[Trust, "Trust and labels"],
    machine: Annotated[Machine, "Speed and memory"],
    expert: Annotated[Expert, "Expert"],
) -> None:
    """Restore and enlarge photos: one, several, folders with all that is in them, or standard input.

    A folder's results keep its tree, and a run that was stopped goes on where it was when it is started again. A photo
    that can't be restored is reported, and the others go on; the exit code is then 1, or 2 if none could be.
    """
    request = _request(basics, trust, machine, expert)
    settings = Settings(
        request=request,
        format=basics.format and BY_NAME[basics.format],
        quality=basics.quality,
        on_exists=many.existing,
        labeled=many.labeled,
        passes=trust.passes or 1,
        limits=limits_of(machine.max_megapixels, machine.max_output_megapixels),
        signer=trust.sign and read_signer(*trust.sign),
    )
    if basics.scale is not None:
        check_scale(basics.scale)
        request.size(64, 64)  # where another size is wanted too
    trust.check()
    part = None if many.shard is None else Shard.parse(many.shard)
    choice = Choice(include=tuple(many.include or ()), exclude=tuple(many.exclude or ()))
    template = None if many.name is None else Template.parse(many.name)
    photos = [without_file_scheme(photo) for photo in photos]
    output = basics.output and without_file_scheme(basics.output)
    piped = _piped(photos, output, many, report=trust.report)
    seeded = expert.seed is not None and not basics.quiet
    wanted = _Wanted(model=basics.model, prior=expert.prior, machine=machine, request=request, seeded=seeded)
    if trust.no_label and not basics.quiet:
        typer.echo(_WITHOUT_LABEL, err=True)
    with _terminated_like_interrupted():
        if piped:
            restore_piped(photos[0], output, wanted.load, settings)
            return
        described = wanted.described()
        naming = Naming(request=request, format=settings.format, template=template, model=described.name)
        tasks, bucket = _planned(photos, output, naming, alone=part is not None)
        tasks = choice.of(tasks) if many.include or many.exclude else tasks
        tasks = tasks if part is None else _part(tasks, part, quiet=many.json or basics.quiet)
        model = replace(described, load=partial(wanted.load, photos=len(tasks)))
        batch = Batch(tasks=tasks, model=model, settings=settings, bucket=bucket, limit=many.limit)
        if bucket is not None:
            _check_of_files(bucket, {"--dry-run": many.dry_run, "--report": trust.report})
        if many.dry_run:
            from sdsr.batch.estimate import estimate

            tell_estimate(estimate(batch), json=many.json)
            return
        pages = _pages(basics.model, settings) if trust.report else None
        tally = report_outcomes(
            replace(batch, beside=pages), json=many.json, quiet=basics.quiet, cluster=machine.cluster
        )
        if pages is not None:
            overviews = pages.overviews(tasks)
            if not (many.json or basics.quiet):
                for page in pages.alone(tasks):
                    echo_line(f"{page}: how far to believe it")
                for page in overviews:
                    echo_line(f"{page}: report of all")
    if tally.photos["failed"]:
        raise typer.Exit(2 if tally.photos["failed"] == tally.photos.total() else 1)


def _request(basics: Basics, trust: Trust, machine: Machine, expert: Expert) -> Request:
    return Request(
        scale=basics.scale,
        width=basics.width,
        height=basics.height,
        megapixels=basics.megapixels,
        seed=expert.seed or 0,
        steps=expert.steps,
        start=expert.begin,
        untrained_start=expert.untrained_start,
        prompt=expert.prompt,
        fidelity=basics.fidelity,
        color_fix=expert.color_fix,
        memory_bytes=parse_bytes(machine.memory) if machine.memory else None,
        label=not trust.no_label,
        consistent=trust.consistent,
        kernel_width=trust.kernel_width,
        protect=tuple([parse_place(each) for each in trust.protect or ()]),
        mean_of=trust.passes or 1 if trust.mean else 1,
    )


def _planned(
    photos: list[Path], output: Path | None, naming: Naming, *, alone: bool
) -> tuple[list[Task], Bucket | None]:
    """Return what is to do, and the bucket that photos and results are in, if they are in one."""
    places = Places.of(photos, output)
    if places is not None:
        return plan_bucket(places, naming, alone=alone)
    return plan(photos, naming, output=output), None


def _check_of_files(bucket: Bucket, options: Mapping[str, bool]) -> None:
    """Raise InputError for an option that was given and is of files, where photos are in a bucket."""
    given = next((option for option, said in options.items() if said), None)
    if given is not None:
        raise InputError(
            f"{given} is of files, and {bucket.places.photos} is a bucket; leave it out, or copy some photos here."
        )


def _part(tasks: list[Task], shard: Shard, *, quiet: bool) -> list[Task]:
    """Return the tasks of a shard, and tell how many they are."""
    ours = shard.of(tasks)
    if not quiet:
        typer.echo(f"sdsr: shard {shard.number}/{shard.count}: {len(ours)} of {len(tasks)} photos.", err=True)
    return ours


def _piped(photos: list[Path], output: Path | None, many: Many, *, report: bool) -> bool:
    """Whether one photo comes or goes through a pipe; raise InputError for what can't stand beside that."""
    pipes = [photo for photo in photos if photo == PIPE or is_pipe(photo)]
    if not pipes and output != PIPE:
        return False
    if len(photos) != 1:
        raise InputError(f"{pipes[0] if pipes else PIPE} (={len(photos)} photos) stands for one photo; give only that.")
    if report:
        raise InputError("--report can't stand beside -, as it is written beside a file; leave it out, or name files.")
    if said := many.said():
        raise InputError(f"{said[0]} is for many photos, and - stands for one; leave it out.")
    if many.json:
        raise InputError("--json can't stand beside -, whose output is the photo; leave one out.")
    return True


def _pages(model: str, settings: Settings) -> "Pages":
    from sdsr.cli.upscale_pages import Pages  # which compares pictures, and loads torch

    return Pages(model=model, settings=settings)


def _check_plan(maker: "JobMaker", request: Request, *, seeded: bool) -> None:
    """Raise InputError, before any photo is read, for a plan that the method has not.

    Warn of an untrained start, and of a seed that was given and changes nothing.
    """
    plan = maker.plan(request)
    if seeded and not maker.heeds_seed(plan):
        typer.echo(
            f"sdsr: warning: seed (={request.seed}) changes nothing: {maker.name} draws no noise, and its pixels are "
            "the same for each seed.",
            err=True,
        )
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
