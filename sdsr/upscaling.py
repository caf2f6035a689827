"""Photo in, photo out: `Upscaler` restores and enlarges one photo of any size in bounded memory."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers.utils.outputs import BaseOutput
from PIL import Image as pillow

from sdsr.diffusion.noise import CanvasNoise
from sdsr.errors import InputError, ModelError
from sdsr.images.arrays import as_output, as_photo
from sdsr.images.floats import image, plane, quantize
from sdsr.images.resize import resample
from sdsr.method_folders import embedded_methods, find_method, read_description, weights_sha256
from sdsr.methods import METHODS
from sdsr.methods.recipe import Recipe
from sdsr.methods.weights import fill_restorer, save_method, trained_recipe
from sdsr.photos.files import Photo, Traits
from sdsr.photos.label import labeled
from sdsr.prior.forked import begin_computing
from sdsr.prior.sources import SOURCES
from sdsr.request import ColorFix, Request
from sdsr.restoration.coloring import TILE_PX, Tile, decoded, finished_tiles, shrunk
from sdsr.restoration.labeling import step_of
from sdsr.restoration.photograph import Photograph
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer
from sdsr.restoration.sample import Sampled, trajectory
from sdsr.restoration.window_sizes import least_window_px, window_size
from sdsr.restoration.windowed import Windowed
from sdsr.tensors import Image, Region

log = logging.getLogger(__name__)

DEFAULT_MODEL = "d3sr-small"
PRIOR_NAMES = ("small", "tiny", *SOURCES)
OnStepEnd = Callable[["Upscaler", int, int, dict[str, Any]], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What can be shown of a photo while it is restored: a part of the result, `final` or still an estimate."""

    region: Region
    image: Image
    final: bool


@dataclass
class UpscalerOutput(BaseOutput):
    """What a call returns, like diffusers' pipelines: `images` is also found as `["images"]` and `[0]`."""

    images: list[pillow.Image] | np.ndarray | torch.Tensor


class Upscaler:
    """A method with its weights, ready to restore photos; like a diffusers pipeline, and safe to call again and again.

    >>> recipe = METHODS["d3sr-small"]
    >>> upscaler = Upscaler(recipe, recipe.system("tiny"))  # random weights; `from_pretrained` has trained ones
    >>> upscaler(pillow.new("RGB", (20, 10)), scale=2.5).images[0].size
    (50, 25)
    """

    def __init__(self, recipe: Recipe, restorer: Restorer, *, weights_sha256: str | None = None) -> None:
        assert recipe.plan is not None, f"{recipe.name} restores nothing: it has no plan"
        self.recipe, self.restorer = recipe, restorer
        self.weights_sha256 = weights_sha256
        if restorer.parts.settle is not None:
            restorer.parts.settle()

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = DEFAULT_MODEL,
        *,
        prior: str | None = None,
        device: torch.device | str | None = None,
    ) -> "Upscaler":
        """Return the method of that name (embedded), or of a folder that `save_pretrained` or `sdsr export` wrote.

        A folder that is called like an embedded method is meant by "./NAME", or by a `Path`.
        `prior` says where its prior is (a name or a folder); without it, the one that the folder names, or else the
        recipe's. Raises InputError for an unknown name, ModelError for weights that are missing, damaged or another
        prior's.
        """
        folder = method_folder(model)
        description = read_description(folder)
        recipe, noted = _recipe(description, folder), description.get("prior")
        assert recipe.system is not None, f"{recipe.name} is a method and restores"
        restorer = recipe.system(prior or (noted if noted in PRIOR_NAMES else recipe.prior), device)
        fill_restorer(restorer, folder)
        return cls(trained_recipe(recipe, description), restorer, weights_sha256=weights_sha256(description))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the trained parts; the prior is named by its sha256, not copied."""
        save_method(self.restorer, Path(folder), self.recipe, {})

    def to(self, device: torch.device | str) -> "Upscaler":
        self.restorer.prior.to(device)
        self.restorer.parts.modules.to(device)
        return self

    @property
    def multiple_px(self) -> int:
        """What the sides of a canvas are multiples of: the autoencoder's factor times that of the UNet's levels."""
        prior = self.restorer.prior
        return prior.factor * 2 ** (len(prior.unet.config["block_out_channels"]) - 1)

    def __call__(
        self,
        image: "pillow.Image | np.ndarray | torch.Tensor",
        *,
        generator: torch.Generator | None = None,
        callback_on_step_end: OnStepEnd | None = None,
        output_type: Literal["pil", "np", "pt"] = "pil",
        **wanted: Any,
    ) -> UpscalerOutput:
        """Restore one picture; `wanted` are the fields of `Request` (scale, width, height, megapixels, seed, ...).

        `callback_on_step_end(self, step, t, {"latents": ...})` looks on; what it returns is not used. Latents
        are the canvas's, with what is around the photo. Alpha comes back
        with `output_type="pil"` only.
        """
        if generator is not None:
            if "seed" in wanted:
                raise InputError(f"generator and seed (={wanted['seed']}) say the same thing; give one of them.")
            wanted["seed"] = CanvasNoise.from_generator(generator).seeds[0]
        photo = self.upscale(as_photo(image), Request(**wanted), callback_on_step_end=callback_on_step_end)
        return UpscalerOutput(images=as_output(photo, output_type))  # type: ignore[arg-type]

    def upscale(
        self,
        photo: Photo,
        request: Request = Request(),
        *,
        on_progress: Callable[[float], None] | None = None,
        callback_on_step_end: OnStepEnd | None = None,
    ) -> Photo:
        """Return the photo restored at the wanted size, with its bit depth, alpha and traits.

        Its XMP says what was done, unless the request has no `label`. `on_progress` is told the share of the work that
        is done, after each window and tile.
        """
        job = self._job(photo, request, on_progress)
        sampled: Sampled | None = None
        for index, sampled in enumerate(job.trajectory()):
            if callback_on_step_end is not None:
                callback_on_step_end(self, index, sampled.t, {"latents": sampled.clean})
        assert sampled is not None, "a plan has at least one time"
        height, width = job.photograph.final_size
        pixels = np.empty((height, width, 3), photo.pixels.dtype)
        for tile in job.tiles(sampled):
            pixels[tile.region.rows, tile.region.columns] = quantize(tile.image, pixels.dtype)
        alpha = None if photo.alpha is None else _enlarged_alpha(photo, (height, width))
        traits = self._labeled(photo, job) if request.label else photo.traits
        return Photo(pixels=pixels, alpha=alpha, traits=traits)

    def stream(self, photo: Photo, request: Request = Request()) -> Iterator[Preview]:
        """Yield what becomes of the photo: an estimate (of its middle, if large) after each step, then final tiles."""
        job = self._job(photo, request, None)
        sampled: Sampled | None = None
        for sampled in job.trajectory():
            if not sampled.last:
                region, estimate = job.estimate(sampled)
                yield Preview(region=region, image=estimate.clamp(0, 1), final=False)
        assert sampled is not None, "a plan has at least one time"
        for tile in job.tiles(sampled):
            yield Preview(region=tile.region, image=tile.image, final=True)

    def plan(
        self,
        steps: int | None = None,
        *,
        start: int | None = None,
        untrained_start: bool = False,
        fidelity: float | int | None = None,
    ) -> Plan:
        """Return the plan of this many steps, start and fidelity; InputError where the method has no such choice."""
        assert self.recipe.plan is not None
        plan = self.recipe.plan
        own = len(plan.times)
        if start is not None:
            plan = replace(plan, times=self._times(steps or own, start, any_start=untrained_start))
        elif steps not in (None, own):
            if self.recipe.times_for is None:
                raise InputError(f"steps (={steps}) of {self.recipe.name} must be {own}; leave --steps out.")
            plan = replace(plan, times=self.recipe.times_for(steps))
        if fidelity is None:
            return plan
        if start is not None:
            raise InputError(f"fidelity (={fidelity}) chooses the start (={start}); leave one of them out.")
        return self._faithful(plan, float(fidelity))

    def settled(self, photo: Photo, request: Request) -> tuple[Request, str | None]:
        """Return the request with the start chosen for this photo, and why, where "auto" is wanted."""
        if request.start != "auto":
            return request, None
        if self.recipe.starts is None:
            raise InputError(f"start (=auto) means nothing to {self.recipe.name}; leave it out.")
        choice = self.recipe.starts.automatic(image(photo))
        steps = request.steps or choice.steps
        reason = f"start {choice.start}, {steps} step{'s' if steps > 1 else ''}: {choice.reason}"
        return replace(request, start=choice.start, steps=steps), reason

    def _labeled(self, photo: Photo, job: "_Job") -> Traits:
        step = step_of(
            photo,
            model=self.recipe.name,
            weights_sha256=self.weights_sha256,
            size=job.photograph.size,
            seed=job.noise.seeds[0],
            plan=job.plan,
            color_fix=job.color_fix,
            own_decoder=self.restorer.parts.decoder is not None,
            prompt=job.prompt,
        )
        return replace(photo.traits, xmp=labeled(photo.traits.xmp, step))

    def _times(self, steps: int, start: int, *, any_start: bool) -> tuple[int, ...]:
        if self.recipe.starts is None:
            raise InputError(f"start (={start}) means nothing to {self.recipe.name}; leave it out.")
        trained = self.recipe.starts.trained
        if start not in trained and not any_start:
            raise InputError(
                f"start (={start}) must be one of {', '.join(map(str, trained))}, where {self.recipe.name} was trained "
                "to; choose one of them, or allow --untrained-start."
            )
        return self.recipe.starts.times_for(steps, start)

    def _faithful(self, plan: Plan, fidelity: float) -> Plan:
        """Return the plan with another fidelity: as the recipe says, or the decoder's, where the method has one."""
        if not 0 <= fidelity <= 1:
            raise InputError(f"fidelity (={fidelity}) must be in 0 ... 1; 0 trusts the model, 1 the photo.")
        if self.recipe.at_fidelity is not None:
            return self.recipe.at_fidelity(plan, fidelity)
        if self.restorer.parts.decoder is not None:
            return replace(plan, fidelity=fidelity)
        raise InputError(f"fidelity (={fidelity}) means nothing to {self.recipe.name}; leave it out.")

    def photograph(self, given: Image, size: tuple[int, int]) -> Photograph:
        """Return a photo on the canvas of a result of `size` (height, width)."""
        return self.recipe.canvas.photograph(given, size, self.multiple_px)

    @property
    def least_window_px(self) -> int:
        """The side of the smallest windows: as small as the UNet can do, or those the prior was trained on."""
        return least_window_px(self.recipe.canvas, self.multiple_px)

    def windowed(
        self, canvas: tuple[int, int], memory_bytes: int | None, on_window: Callable[[], None] | None = None
    ) -> Windowed:
        """Return the restorer behind windows as the method has them, or as large as the memory allows.

        It is one window if the canvas fits in it. Raises InputError where memory doesn't suffice for the smallest.
        """
        size = window_size(self.recipe.canvas, canvas, multiple_px=self.multiple_px, memory_bytes=memory_bytes)
        return Windowed(
            restorer=self.restorer, window_px=size.window_px, overlap_px=size.overlap_px, on_window=on_window
        )

    def _job(self, photo: Photo, request: Request, on_progress: Callable[[float], None] | None) -> "_Job":
        begin_computing(self.restorer.prior.device)
        if request.prompt is not None and not self.recipe.listens:
            raise InputError(f"prompt (={request.prompt!r}) means nothing to {self.recipe.name}; leave it out.")
        width, height = request.size(photo.size[1], photo.size[0])
        request, _ = self.settled(photo, request)
        assert request.start != "auto", "it is settled"
        plan = self.plan(
            request.steps, start=request.start, untrained_start=request.untrained_start, fidelity=request.fidelity
        )
        photograph = self.photograph(image(photo), (height, width))
        canvas = photograph.region.height, photograph.region.width
        windows = len(self.windowed(canvas, request.memory_bytes).windows(canvas))
        meter = _Meter(total=float(windows * (len(plan.times) + 2)), report=on_progress)
        return _Job(
            photograph=photograph,
            restorer=self.windowed(canvas, request.memory_bytes, meter.add),
            plan=plan,
            noise=CanvasNoise(seeds=(request.seed,)),
            prompt=request.prompt,
            color_fix=request.color_fix or self.recipe.color_fix,
            adain_floor=self.recipe.adain_floor,
            meter=meter,
            windows=windows,
        )


@dataclass(slots=True, kw_only=True)
class _Meter:
    """How far a restoration is, in windows looked at, denoised or decoded."""

    total: float
    report: Callable[[float], None] | None
    done: float = 0.0

    def add(self, amount: float = 1.0) -> None:
        self.done += amount
        if self.report is not None:
            self.report(min(1.0, self.done / self.total))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One photo at work."""

    photograph: Photograph
    restorer: Windowed
    plan: Plan
    noise: CanvasNoise
    prompt: str | None
    color_fix: ColorFix
    adain_floor: float
    meter: _Meter
    windows: int

    def trajectory(self) -> Iterator[Sampled]:
        return trajectory(self.restorer, self.photograph, self.plan, self.noise, prompt=self.prompt)

    def estimate(self, sampled: Sampled) -> tuple[Region, Image]:
        """Return what can be shown of a step: the middle of the result, or all of it where it is shrunk in the end."""
        photograph, made = self.photograph, self.photograph.made
        if photograph.wanted is None:
            region = _middle((made.height, made.width), self.restorer.factor)
            return region, decoded(self.restorer, photograph, sampled, region)
        whole = decoded(self.restorer, photograph, sampled, Region.whole(made.height, made.width))
        return Region.whole(*photograph.wanted), shrunk(photograph, whole)

    def tiles(self, sampled: Sampled) -> Iterator[Tile]:
        height, width = self.photograph.final_size
        finishing = partial(finished_tiles, color_fix=self.color_fix, adain_floor=self.adain_floor)
        for tile in finishing(self.restorer, self.photograph, sampled):
            yield tile
            self.meter.add(self.windows * tile.region.height * tile.region.width / (height * width))


def method_folder(model: str | Path) -> Path:
    """Return where the weights of a model are; see `find_method`. Raises InputError or ModelError where they aren't."""
    folder = find_method(model)
    if folder is not None:
        return folder
    if str(model) in METHODS:
        raise ModelError(
            f"weights of {model} are not embedded; convert a published file with `sdsr convert` or train with "
            "`sdsr train`, and name the folder instead."
        )
    embedded = ", ".join(embedded_methods())
    raise InputError(f"model (={model}) must be one of {embedded}, or a folder of a trained method.")


def _recipe(description: dict[str, Any], folder: Path) -> Recipe:
    name = description.get("recipe")
    if name not in METHODS:
        raise ModelError(f"recipe (={name}) of {folder} must be one of {', '.join(sorted(METHODS))}; update sdsr.")
    return METHODS[name]


def _enlarged_alpha(photo: Photo, size: tuple[int, int]) -> np.ndarray:
    """Return the alpha at the new size, in strips."""
    given, alpha = plane(photo), np.empty(size, photo.pixels.dtype)
    for top in range(0, size[0], TILE_PX):
        strip = Region(top=top, left=0, height=min(TILE_PX, size[0] - top), width=size[1])
        alpha[strip.rows] = quantize(resample(given, size, strip), alpha.dtype)
    return alpha


def _middle(size: tuple[int, int], factor: int) -> Region:
    """Return the middle of a picture, at most a tile of it, on the autoencoder's cells."""
    height, width = (min(side, TILE_PX) // factor * factor or min(side, factor) for side in size)
    top, left = ((side - part) // 2 // factor * factor for side, part in zip(size, (height, width), strict=True))
    return Region(top=max(0, top), left=max(0, left), height=height, width=width)
