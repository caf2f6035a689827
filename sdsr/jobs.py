"""What jobs are made by: a model that is ready to restore, whatever computes it; knows no torch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from sdsr.crops import Crop, crop_of
from sdsr.diffusion.noise import CanvasNoise
from sdsr.errors import InputError
from sdsr.job import Credit, Job, Progress
from sdsr.less_memory import in_smaller_windows
from sdsr.photos.photo import Photo
from sdsr.prior.facts import Facts
from sdsr.region import Region
from sdsr.request import ColorFix, Request
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.finish import Finish
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.passes import Passes, run_passes, turned_region
from sdsr.restoration.peak import BY_TORCH, Allocations
from sdsr.restoration.plan import Plan
from sdsr.restoration.protocol import RestoringParts
from sdsr.restoration.window_sizes import least_window_px, most_window_px, window_size
from sdsr.restoration.windowed import Windowed
from sdsr.tensors import Image

OnProgress = Callable[[float], None]
Result = TypeVar("Result")


class MakingPlans(Protocol):
    """Decides the plan of a photo as it was given; InputError for a wish that can't be fulfilled."""

    def __call__(self, request: Request, photo: Image | None = None) -> Plan: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMaker:
    """A model, ready to restore photos, and all that decides how; its jobs are run one after another.

    `image` makes floats of a photo, of the kind that `restorer` computes with. `plan` decides a photo's plan.
    `draws_noise` says whether what its first step begins with is drawn. `starts` are those that the model was trained
    at, in its paper's counting. `allocations` say how its runtime takes memory (`peak.py`). `free_bytes` returns the
    memory that its windows may use where that is not the host's, else None. `load_float32` loads it anew, in full
    precision, for a photo that can't be restored in less; None where it computes in that.
    """

    restorer: RestoringParts[Any, Any]
    image: Callable[[Photo], Any]
    plan: MakingPlans
    facts: Facts
    canvas: Canvas
    color_fix: ColorFix
    adain_floor: float
    credit: Credit
    draws_noise: bool
    listens: bool = False
    starts: tuple[int, ...] = ()
    allocations: Allocations = BY_TORCH
    free_bytes: Callable[[], int | None] = lambda: None
    load_float32: "Callable[[], JobMaker] | None" = None

    @property
    def name(self) -> str:
        """The model's."""
        return self.credit.model

    def heeds_seed(self, plan: Plan) -> bool:
        """Whether another seed gives another result by this plan, as noise is drawn."""
        return self.draws_noise or plan.draws_noise

    def job(
        self,
        photo: Photo,
        request: Request = Request(),
        *,
        plan: Plan | None = None,
        on_progress: OnProgress | None = None,
    ) -> Job:
        """Return the work on one photo, decided and not begun; see `Job`.

        `plan` stands for the one that the request asks for. `on_progress` is told the share of the work that is done,
        after each window and tile. Raises InputError for what the method or the memory doesn't allow.
        """
        if request.prompt is not None and not self.listens:
            raise InputError(f"prompt (={request.prompt!r}) means nothing to {self.name}; leave it out.")
        width, height = request.size(photo.size[1], photo.size[0])
        given = self.image(photo)
        plan = plan or self.plan(request, given)
        canvas = self.lq_image(given, (height, width))
        finish = _finish(request, photo)
        finish.check(photo.size, (height, width))
        progress = Progress(report=on_progress)
        return Job(
            photo=photo,
            request=request,
            canvas=canvas,
            plan=plan,
            restorer=replace(
                self.windowed(canvas.region.size, request.memory_bytes, progress.add), on_note=progress.notes.append
            ),
            noise=CanvasNoise(seeds=(request.seed,)),
            color_fix=request.color_fix or self.color_fix,
            adain_floor=self.adain_floor,
            credit=self.credit,
            progress=progress,
            chosen=plan.reason,
            finish=finish,
        )

    def upscale(self, photo: Photo, request: Request = Request(), *, on_progress: OnProgress | None = None) -> Photo:
        """Return the photo restored at the wanted size, with its bit depth, alpha and traits.

        Its XMP says what was done, unless the request has no `label`. `on_progress` is told the share of the work that
        is done, after each window and tile. Where memory runs out, it begins again in smaller windows, and warns.
        """

        def run(request: Request) -> Photo:
            if request.mean_of != 1:
                return self.passes(photo, request, count=request.mean_of, on_progress=on_progress).mean
            return self.job(photo, request, on_progress=on_progress).run()

        return self.in_smaller_windows(photo, request, run)[0]

    def in_smaller_windows(
        self, photo: Photo, request: Request, run: Callable[[Request], Result]
    ) -> tuple[Result, str | None]:
        """Restore a photo by `run`, and where memory runs out, again in windows of half of it; see `less_memory.py`.

        Return the result, and what was done in words. Raises LimitError where windows can't be smaller.
        """

        def window_bytes(request: Request) -> int:
            return self.facts.bytes_per_px * self.job(photo, request).restorer.window_px ** 2

        return in_smaller_windows(request, run, least_bytes=self.least_window_bytes, window_bytes=window_bytes)

    def passes(
        self,
        photo: Photo,
        request: Request = Request(),
        *,
        count: int = 4,
        region: Region | None = None,
        on_progress: OnProgress | None = None,
    ) -> Passes:
        """Restore a photo `count` (2 ... 8) times, mirrored in other ways and with another seed each.

        Return the first, which is the plain result, the mean of all, and where they disagree; of a `region` of the
        result only, where that is given. What a request wants in the end (`protect`, `consistent`) is done to the first
        and to the mean, and the spread is that before. Raises InputError for another count, for a region that isn't
        within the result, and for one of a result that is finished as a whole.
        """
        job = self.job(photo, request)
        if region is not None and job.finish.changes:
            raise InputError(
                f"region (={region}) of a result that is protected or consistent must be the whole's; cut it."
            )
        plain = replace(request, protect=(), consistent=False, mean_of=1)

        def restore(turned: Photo, number: int, swapped: bool) -> Photo:
            sized = replace(plain, width=plain.height, height=plain.width) if swapped else plain
            told = lambda share: on_progress and on_progress((number + share) / count)  # noqa: E731
            one = self.job(turned, replace(sized, seed=request.seed + number), on_progress=told)
            if region is None:
                return one.run()
            return self.crop(one, turned_region(region, number, job.size)).run()

        job.finish.warn()
        found = run_passes(photo, restore, count)
        first = replace(job.finish.apply(found.first, photo), traits=job.result_traits())
        mean = replace(job.finish.apply(found.mean, photo), traits=job.result_traits(passes=count))
        return replace(found, first=first, mean=mean)

    def crop(self, job: Job, region: Region) -> Crop:
        """Return the work on a region of a job's result, in its pixels: what the whole result shows there.

        Raises InputError for a region that isn't within it.
        """
        assert isinstance(job.restorer, Windowed), "it is a job of this model"
        return crop_of(job, region, job.restorer, self.canvas.context_px)

    def lq_image(self, given: Image, size: tuple[int, int]) -> LqImage:
        """Return a photo on the canvas of a result of `size` (height, width)."""
        return LqImage.on(self.canvas, given, size, self.facts.multiple_px)

    @property
    def least_window_px(self) -> int:
        """The side of the smallest windows: as small as the UNet can do, or those the prior was trained on."""
        return least_window_px(self.canvas, self.facts)

    @property
    def least_window_bytes(self) -> int:
        """What the smallest windows need."""
        return self.facts.bytes_per_px * self.least_window_px**2

    @property
    def most_window_bytes(self) -> int:
        """What the largest windows need, and the most that is of use to them."""
        return self.facts.bytes_per_px * most_window_px(self.canvas, self.facts) ** 2

    def windowed(
        self, canvas: tuple[int, int], memory_bytes: int | None, on_window: Callable[[], None] | None = None
    ) -> Windowed:
        """Return the restorer behind windows as the method or its prior has them, no larger than the memory allows.

        It is one window if the canvas fits in it. Raises InputError where memory doesn't suffice for the smallest.
        """
        size = window_size(self.canvas, canvas, facts=self.facts, memory_bytes=memory_bytes)
        return Windowed(
            restorer=self.restorer, window_px=size.window_px, overlap_px=size.overlap_px, on_window=on_window
        )


def _finish(request: Request, photo: Photo) -> Finish:
    """Return what a request wants in the end, in the places of a photo that it protects, those of text found."""
    places = dict.fromkeys(place for place in request.protect if isinstance(place, Region))
    text_places = None
    if "text" in request.protect:
        from sdsr.trust.text import find_text

        text = find_text(photo)
        text_places = len(text)
        places |= dict.fromkeys(text)
    return Finish(
        places=tuple(places),
        consistent=request.consistent,
        kernel_width=request.kernel_width,
        text_places=text_places,
    )
