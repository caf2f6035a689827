"""Restored latents in files of a folder, so that restoring, which takes nearly all of the time, is done once."""

from dataclasses import dataclass, fields, is_dataclass
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from sdsr.errors import InputError
from sdsr.job import Job
from sdsr.metrics.save import save_bytes
from sdsr.prior.weight_files import module_sha256
from sdsr.restoration.sample import Sampled
from sdsr.tensors import Latent
from sdsr.upscaling import Upscaler

_LATENT = "clean"
_SETUP = "setup"
_LONGEST_NAME = 200  # bytes; a file system allows 255
_SHORTENED_NAME = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Latents:
    """A file for each photo and all that its latent depends on: `model`, seed, plan, canvas, windows.

    The file's name holds a digest of these, its metadata the words. `model` is what `latent_model` says. Latents are
    read to `device`.
    """

    folder: Path
    model: str
    device: torch.device

    def find(self, name: str, job: Job) -> Sampled | None:
        """Return what a job made of the photo of this name before, None where there is no file of it."""
        file = self._file(name, job)
        if not file.exists():
            return None
        clean = _read(file).to(self.device)
        return Sampled(t=job.plan.times[-1], clean=clean, encoded=None, last=True)

    def keep(self, name: str, job: Job, sampled: Sampled) -> None:
        """Write what a job made of a photo, unless it is there."""
        file = self._file(name, job)
        if not file.exists():
            save_bytes(save({_LATENT: sampled.clean.cpu().contiguous()}, {_SETUP: self._setup(job)}), file)

    def _file(self, name: str, job: Job) -> Path:
        return self.folder / _file_name(name, self._setup(job))

    def _setup(self, job: Job) -> str:
        canvas = job.canvas
        height, width = canvas.size
        region = canvas.region
        given = sha256(canvas.pixels.numpy().tobytes()).hexdigest()[:12]
        rows = sorted({window.top for window in job.windows})
        columns = sorted({window.left for window in job.windows})
        times = " ".join(map(str, job.plan.times))
        return (
            f"{self.model}, seed {job.noise.seeds[0]}, photo {given} to {width}x{height} by {canvas.kernel.name}, "
            f"canvas of {region.width}x{region.height} px from ({region.left}, {region.top}), "
            f"windows of {job.restorer.window_px} px from rows {rows} and columns {columns}, "
            f"from {job.plan.start_time}, times {times}, guidance {job.plan.guidance:g}, {job.plan.refinement}"
        )


def latent_model(upscaler: Upscaler) -> str:
    """What restores: the prior and all parts but the decoder's, so that one decoder's latents are another's, too."""
    decoder = upscaler.restorer.parts.decoder
    decoding = [getattr(decoder, field.name) for field in fields(decoder)] if is_dataclass(decoder) else []
    parts = {
        name: part
        for name, part in upscaler.restorer.parts.modules.items()
        if not any(part is network for network in decoding)
    }
    return f"{upscaler.recipe.name} {module_sha256(nn.ModuleDict(parts))} on {upscaler.restorer.prior.sha256}"


def _read(file: Path) -> Latent:
    try:
        return load_file(file)[_LATENT]
    except (SafetensorError, KeyError, OSError) as error:
        raise InputError(f"latent (={file}) can't be read ({error}); delete it to restore the photo again.") from error


def _file_name(photo: str, setup: str) -> str:
    """Return the name of a photo's file; of one in a folder of the tree, or with a long name, the digest tells more."""
    plain = "/" not in photo and len(photo.encode(errors="surrogateescape")) <= _LONGEST_NAME
    known = setup if plain else f"{photo}\n{setup}"
    digest = sha256(known.encode(errors="surrogateescape")).hexdigest()[:12]
    return f"{photo if plain else photo.rpartition('/')[2][:_SHORTENED_NAME]}.{digest}.safetensors"
