"""A job: one photo on its way to a picture, with previews, progress and cancel; the one way that there is.

Knows no torch: what computes is the job's restorer.
"""

import hashlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from threading import Event

import numpy as np
from numpy.typing import DTypeLike

from sdsr import __version__
from sdsr.diffusion.noise import CanvasNoise
from sdsr.errors import CancelledError
from sdsr.images.floats import image, quantize
from sdsr.photos.label import Step, labeled
from sdsr.photos.photo import Photo, Traits
from sdsr.region import Region
from sdsr.request import ColorFix, Request
from sdsr.restoration.coloring import Tile, enlarged_alpha, estimated, finished_tiles
from sdsr.restoration.finish import NO_FINISH, Finish
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.plan import Plan
from sdsr.restoration.protocol import RestoringInWindows
from sdsr.restoration.sample import Sampled, trajectory
from sdsr.restoration.tiles import TILE_PX
from sdsr.tensors import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What can be shown of a photo while it is restored: a part of the result, `final` or still an estimate."""

    region: Region
    image: Image
    final: bool


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a job is, counted in windows encoded, denoised or decoded; `report` is told the share that is done.

    `cancelled` may be set from another thread; counting then raises CancelledError. `notes` tell, in words, what was
    done otherwise than decided, as memory ran out.
    """

    report: Callable[[float], None] | None = None
    total: float = 1.0
    done: float = 0.0
    cancelled: Event = field(default_factory=Event)
    notes: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        return min(1.0, self.done / self.total)

    def begin(self, total: float) -> None:
        self.total = total
        self.done = 0.0

    def add(self, amount: float = 1.0) -> None:
        self.done += amount
        if self.report is not None:
            self.report(self.share)
        self.check()

    def check(self) -> None:
        """Raise CancelledError where the job is not wanted any more."""
        if self.cancelled.is_set():
            raise CancelledError("job was cancelled; no result was made.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """What a label says of the model: its name, the sha256 of its weights, and whether fidelity is its decoder's."""

    model: str
    weights_sha256: str | None = None
    own_decoder: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One photo, what is wanted of it, and all that is decided before it is restored.

    `chosen` says why the plan is what it is, where the photo decided; `finish`, what is done in the end. `canvas` is
    the photo on the canvas of its result, `restorer` restores it in windows. A job may be run again, and with another
    plan, as `replace(job, plan=...)`; it is run by one thread at a time.
    """

    photo: Photo
    request: Request
    canvas: LqImage
    plan: Plan
    restorer: RestoringInWindows
    noise: CanvasNoise
    color_fix: ColorFix
    adain_floor: float
    credit: Credit
    progress: Progress
    chosen: str | None = None
    finish: Finish = NO_FINISH

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) of the result."""
        return self.canvas.final_size

    @property
    def windows(self) -> tuple[Region, ...]:
        """The windows of the canvas, in its pixels."""
        return self.restorer.windows(self.canvas.region.size)

    def cancel(self) -> None:
        """Let the job end with CancelledError, after the window or tile that is at work; from any thread."""
        self.progress.cancelled.set()

    def run(
        self,
        *,
        on_step: Callable[[int, Sampled], object] | None = None,
        on_preview: Callable[[Preview], None] | None = None,
    ) -> Photo:
        """Return the photo restored at the wanted size, with its bit depth, alpha and traits.

        Its XMP says what was done, unless the request has no `label`. `on_step` is told each step's index and what is
        known after it; `on_preview`, what can be shown then, and each finished tile.
        """
        work = self._work(on_step, shown=on_preview is not None)
        while True:
            try:
                preview = next(work)
            except StopIteration as done:
                return done.value
            if on_preview is not None:
                on_preview(preview)

    def previews(self) -> Iterator[Preview]:
        """Yield what becomes of the photo: an estimate (of its middle, if large) after each step, then final tiles.

        Where there is a `finish`, its tiles are estimates too, and strips are final that come when it is done.
        """
        yield from self._work(None, shown=True)

    def _work(
        self, on_step: Callable[[int, Sampled], object] | None, *, shown: bool
    ) -> Generator[Preview, None, Photo]:
        """Restore the photo and return it; yield what can be shown meanwhile, if it is to be `shown`."""
        self.finish.warn()
        sampled: Sampled | None = None
        for index, sampled in enumerate(self.steps()):
            if on_step is not None:
                on_step(index, sampled)
            if shown and not sampled.last:
                yield self.preview(sampled)
        assert sampled is not None, "a plan has at least one time"
        sampled = replace(sampled, encoded=None)  # whose place the result's pixels may take
        pixels = np.empty((*self.size, 3), self.photo.pixels.dtype)
        for tile in self.tiles(sampled):
            _paint(pixels, tile)
            if shown:
                yield Preview(region=tile.region, image=tile.image, final=not self.finish.changes)
        alpha = None if self.photo.alpha is None else enlarged_alpha(self.photo, self.size)
        result = Photo(pixels=pixels, alpha=alpha, traits=self.result_traits())
        if self.finish.changes:
            result = self.finish.apply(result, self.photo)
            if shown:
                yield from _finished(result)
        return result

    def steps(self) -> Iterator[Sampled]:
        """Yield the clean estimate after each of the plan's times; the last one is the restored latent."""
        self.progress.begin(float(len(self.windows) * (len(self.plan.times) + 2)))
        self.progress.check()
        yield from trajectory(self.restorer, self.canvas, self.plan, self.noise, prompt=self.request.prompt)

    def preview(self, sampled: Sampled) -> Preview:
        """Return what can be shown of a step: the middle of the result, or all of it where it is shrunk in the end."""
        tile = estimated(self.restorer, self.canvas, sampled)
        return Preview(region=tile.region, image=tile.image, final=False)

    def tiles(self, sampled: Sampled) -> Iterator[Tile]:
        """Yield the result that a step's estimate gives in tiles, its colors corrected, in about [0, 1]; unfinished."""
        height, width = self.size
        windows = len(self.windows)
        for tile in finished_tiles(
            self.restorer,
            self.canvas,
            sampled,
            self.color_fix,
            adain_floor=self.adain_floor,
            on_note=self.progress.notes.append,
        ):
            yield tile
            self.progress.add(windows * tile.region.height * tile.region.width / (height * width))

    def pixels(self, sampled: Sampled, dtype: DTypeLike | None = None) -> np.ndarray:
        """Return the unfinished result of a step's estimate, (height, width, 3), by default stored like the photo's."""
        pixels = np.empty((*self.size, 3), dtype or self.photo.pixels.dtype)
        for tile in self.tiles(sampled):
            _paint(pixels, tile)
        return pixels

    def result_traits(self, passes: int = 1) -> Traits:
        """Return the traits of the result, or of the mean of so many; its XMP has the label where one is wanted."""
        if not self.request.label:
            return self.photo.traits
        return replace(self.photo.traits, xmp=labeled(self.photo.traits.xmp, self.step(passes)))

    def step(self, passes: int = 1) -> Step:
        """Return what a label tells of the result, or of the mean of so many.

        What was settled is told, not how it was asked for, and nothing of the machine: not the windows that memory
        allowed, not device or precision. A plan's fidelity counts where the method has a decoder of its own.
        """
        height, width = self.canvas.size
        facts = {
            "weightsSha256": self.credit.weights_sha256,
            **_input_of(self.photo),
            "width": str(width),
            "height": str(height),
            "seed": str(self.noise.seeds[0]),
            "times": " ".join(map(str, self.plan.times)),
            "fidelity": f"{self.plan.fidelity:g}" if self.credit.own_decoder else None,
            "colorFix": self.color_fix,
            "prompt": self.request.prompt,
            "passes": str(passes) if passes > 1 else None,
            **self.finish.facts(),
        }
        told = {name: fact for name, fact in facts.items() if fact is not None}
        return Step(software="sdsr", version=__version__, model=self.credit.model, facts=told)


def _input_of(photo: Photo) -> dict[str, str]:
    """Return the sha256 of the photo's file; of its pixels, then alpha (16 bits little-endian), where it had none."""
    if photo.source_sha256 is not None:
        return {"inputSha256": photo.source_sha256}
    digest = hashlib.sha256()
    for samples in (photo.pixels, photo.alpha):
        if samples is not None:
            digest.update(np.ascontiguousarray(samples.astype(samples.dtype.newbyteorder("<"), copy=False)).data)
    return {"inputPixelsSha256": digest.hexdigest()}


def _paint(pixels: np.ndarray, tile: Tile) -> None:
    pixels[tile.region.rows, tile.region.columns] = quantize(tile.image, pixels.dtype)


def _finished(result: Photo) -> Iterator[Preview]:
    """Yield a finished result in strips."""
    for region in Region.grid(result.size, TILE_PX, result.size[1]):
        yield Preview(region=region, image=image(result, region), final=True)
