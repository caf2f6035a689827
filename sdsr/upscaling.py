"""Photo in, photo out: `Upscaler` restores and enlarges one photo of any size in bounded memory."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers.utils.outputs import BaseOutput
from PIL import Image as pillow

from sdsr.checkpoints.weights import check_files, fill_restorer, save_method
from sdsr.crops import Crop
from sdsr.diffusion.noise import CanvasNoise
from sdsr.digests import combined_sha256
from sdsr.errors import InputError
from sdsr.images.arrays import as_output, as_photo
from sdsr.images.floats import image
from sdsr.job import Credit, Job
from sdsr.jobs import JobMaker
from sdsr.methods.recipe import Recipe
from sdsr.models import DEFAULT_MODEL, find_model
from sdsr.photos.files import Photo
from sdsr.prior.facts import Offload
from sdsr.prior.forked import begin_computing
from sdsr.prior.loading import choose_device, device_for, is_missing, load_prior
from sdsr.prior.offloading import offloading_of
from sdsr.prior.tiny_decoder import decoded_by, decoder_sha256, load_tiny_decoder
from sdsr.request import Request, to_request
from sdsr.restoration.passes import Passes
from sdsr.restoration.placing import check_offload, move, placed
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer
from sdsr.tensors import Image, Region

OnStepEnd = Callable[["Upscaler", int, int, dict[str, Image]], object]


@dataclass
class UpscalerOutput(BaseOutput):
    """What a call returns, like diffusers' pipelines: `images` is also found as `["images"]` and `[0]`."""

    images: list[pillow.Image] | np.ndarray | torch.Tensor


class Upscaler:
    """A method with its weights, ready to restore photos; like a diffusers pipeline, and safe to call again and again.

    >>> from sdsr import METHODS
    >>> recipe = METHODS["d3sr-small"]
    >>> upscaler = Upscaler(recipe, recipe.method.build("tiny"))  # random weights; `from_pretrained` has trained ones
    >>> upscaler(pillow.new("RGB", (20, 10)), scale=2.5).images[0].size
    (50, 25)
    """

    def __init__(self, recipe: Recipe, restorer: Restorer, *, weights_sha256: str | None = None) -> None:
        assert recipe.plan is not None, f"{recipe.name} restores nothing: it has no plan"
        self.recipe = recipe
        self.restorer = restorer
        self.weights_sha256 = weights_sha256
        if restorer.parts.fuse is not None:
            restorer.parts.fuse()

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = DEFAULT_MODEL,
        *,
        prior: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        decoder: str | Path | None = None,
        offload: Offload | None = None,
    ) -> "Upscaler":
        """Return the method of that name (embedded), or of a folder that was saved, exported or converted.

        A folder that is called like an embedded method is meant by "./NAME", or by a `Path`.
        `prior` says where its prior is (a name or a folder); without it, the one that the folder names, or else the
        recipe's. Without a `dtype` it computes in what suits the device. `decoder` is a folder or file of a tiny
        decoder (`prior/tiny_decoder.py`), which decodes in the prior's place. `offload` says which weights are on an
        accelerator at once: all ("none"), those of the part that computes ("model"), or of the layer ("sequential"); by
        default as many as its memory allows.
        Raises InputError for an unknown name, a method that has a decoder of its own, or offloading from the CPU;
        ModelError for weights that are missing, damaged or another prior's.
        """
        found = find_model(model)
        recipe = found.recipe()
        name = prior or found.prior(recipe)
        there = device_for(name, device)
        check_offload(there, offload)
        digest = found.weights_sha256
        if decoder is not None:
            digest = combined_sha256([digest, decoder_sha256(Path(decoder))])
        found.check_prior(name)
        if is_missing(name):
            check_files(found.folder)  # before gigabytes are downloaded for them
        loaded = load_prior(name, device=there, dtype=dtype, on_host=True)
        restorer = recipe.restoring.build(loaded)
        fill_restorer(restorer, found.folder)
        if decoder is not None:
            restorer = tiny_decoded(restorer, recipe.name, Path(decoder))
        upscaler = cls(recipe, restorer, weights_sha256=digest)
        upscaler.place(there, offload)
        return upscaler

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the trained parts; the prior is named by its sha256, not copied."""
        save_method(self.restorer, Path(folder), self.recipe, {})

    def to(self, device: torch.device | str) -> "Upscaler":
        """Move all weights to a device, and return the upscaler; offloading ends."""
        self.restorer = move(self.restorer, device)
        return self

    def place(self, device: torch.device | str, offload: Offload | None = None) -> None:
        """Compute on a device from here on, with all weights there or some in turn; see `from_pretrained`.

        Raises InputError for offloading from the CPU.
        """
        there = torch.device(device)
        move(self.restorer, "cpu")
        self.restorer = placed(
            self.restorer,
            there,
            self.recipe.canvas,
            offload=offload,
            free_bytes=accelerator_bytes(there),
            plan=self.recipe.restoring.own_plan,
        )

    def enable_model_cpu_offload(self, device: torch.device | str | None = None) -> None:
        """Keep weights in the host's memory, and on the device those of the part that computes; as in diffusers."""
        self.place(choose_device() if device is None else device, "model")

    def enable_sequential_cpu_offload(self, device: torch.device | str | None = None) -> None:
        """Keep weights in the host's memory, and on the device those of one layer at a time; as in diffusers."""
        self.place(choose_device() if device is None else device, "sequential")

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
        are the canvas's, with what is around the photo. Alpha comes back with `output_type="pil"` only. Raises
        InputError for a keyword that is no field, which says what diffusers' is called here.
        """
        if generator is not None:
            if "seed" in wanted:
                raise InputError(f"generator and seed (={wanted['seed']}) say the same thing; give one of them.")
            wanted["seed"] = CanvasNoise.from_generator(generator).seeds[0]
        photo = self.upscale(as_photo(image), to_request(wanted), callback_on_step_end=callback_on_step_end)
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
        is done, after each window and tile. Where memory runs out, it begins again in smaller windows, and warns.
        """
        if callback_on_step_end is None:
            return self.maker.upscale(photo, request, on_progress=on_progress)
        if request.mean_of != 1:
            raise InputError(f"mean_of (={request.mean_of}) passes have no steps in common to look at; leave it out.")
        look = callback_on_step_end
        job = self.job(photo, request, on_progress=on_progress)
        return job.run(on_step=lambda index, sampled: look(self, index, sampled.t, {"latents": sampled.clean}))

    def passes(
        self,
        photo: Photo,
        request: Request = Request(),
        *,
        count: int = 4,
        on_progress: Callable[[float], None] | None = None,
    ) -> Passes:
        """Restore a photo `count` (2 ... 8) times, mirrored in other ways and with another seed each.

        Return the first, which is the plain result, the mean of all, and where they disagree. What a request wants in
        the end (`protect`, `consistent`) is done to the first and to the mean, and the spread is that before. Raises
        InputError for another count.
        """
        return self.maker.passes(photo, request, count=count, on_progress=on_progress)

    def job(
        self,
        photo: Photo,
        request: Request = Request(),
        *,
        plan: Plan | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> Job:
        """Return the work on one photo, decided and not begun; see `Job`.

        `plan` stands for the one that the request asks for. `on_progress` is told the share of the work that is done,
        after each window and tile. Raises InputError for what the method or the memory doesn't allow.
        """
        return self.maker.job(photo, request, plan=plan, on_progress=on_progress)

    def crop(self, job: Job, region: Region) -> Crop:
        """Return the work on a region of a job's result, in its pixels: what the whole result shows there.

        Raises InputError for a region that isn't within it.
        """
        return self.maker.crop(job, region)

    def plan(
        self,
        steps: int | None = None,
        *,
        start: int | None = None,
        untrained_start: bool = False,
        fidelity: float | int | None = None,
    ) -> Plan:
        """Return the plan of this many steps, start and fidelity; InputError where the method has no such choice."""
        request = Request(steps=steps, start=start, untrained_start=untrained_start, fidelity=fidelity)
        return self.recipe.restoring.plan(request)

    @property
    def maker(self) -> JobMaker:
        """What decides jobs; raises InputError in a process that can't compute, being forked from one that did."""
        begin_computing(self.restorer.prior.device)
        method = self.recipe.restoring
        own_decoder = self.restorer.parts.decoder is not None
        credit = Credit(model=self.recipe.name, weights_sha256=self.weights_sha256, own_decoder=own_decoder)
        return JobMaker(
            restorer=self.restorer,
            image=image,
            plan=method.plan,
            facts=self.restorer.facts(method.own_plan),
            allocations=self.restorer.allocations(method.own_plan),
            canvas=self.recipe.canvas,
            color_fix=self.recipe.color_fix,
            adain_floor=self.recipe.adain_floor,
            credit=credit,
            draws_noise=self.restorer.draws_noise,
            listens=self.recipe.listens,
            starts=self.recipe.starts,
            free_bytes=partial(window_bytes, self.restorer),
        )


def tiny_decoded(restorer: Restorer, name: str, path: Path) -> Restorer:
    """Return the restorer with a tiny decoder in place of its prior's; raise InputError where it has its own."""
    if restorer.parts.decoder is not None:
        raise InputError(f"decoder (={path}) can't stand in: {name} decodes by one of its own; leave it out.")
    decoder = load_tiny_decoder(path, dtype=restorer.prior.dtype)
    return replace(restorer, prior=decoded_by(restorer.prior, decoder, named=str(path)))


def accelerator_bytes(device: torch.device) -> int | None:
    """Return the memory that is free on an accelerator; None where it is the host's own, as mps's is.

    What torch keeps of freed tensors, for the next ones, is free.
    """
    if device.type in ("cpu", "mps", "meta") or not torch.accelerator.is_available():
        return None
    module = torch.get_device_module(device)
    free, _ = module.mem_get_info(device)
    return free + module.memory_reserved(device) - module.memory_allocated(device)


def window_bytes(restorer: Restorer) -> int | None:
    """Return the memory that windows may use on an accelerator, beside weights that come there in turn."""
    free = accelerator_bytes(restorer.prior.device)
    offloading = offloading_of(restorer.prior.network)
    if free is None or offloading is None:
        return free
    return max(0, free + offloading.resident_bytes - offloading.most_bytes)
