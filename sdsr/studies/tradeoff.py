"""What fidelity costs and gives: photos restored once to latents, these decoded at each fidelity, and scored.

StableSR's decoder (arXiv:2305.07015, Sec. 3.3) takes the more of the photo the greater w is. Latents are kept in files,
so that restoring, which takes nearly all of the time, goes on where it was interrupted. A method whose fidelity changes
its plan restores once for each plan.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from sdsr.diffusion.noise import CanvasNoise
from sdsr.errors import InputError
from sdsr.metrics.benchmark import Scores
from sdsr.metrics.planes import Pixels
from sdsr.metrics.protocol import Protocol
from sdsr.metrics.save import save_bytes
from sdsr.prior.weight_files import module_sha256
from sdsr.studies.choices import tabulated
from sdsr.studies.consistency import consistency, with_consistency
from sdsr.studies.plans import Canvas
from sdsr.studies.subjects import Subject

if TYPE_CHECKING:
    from sdsr.restoration.photograph import Photograph
    from sdsr.restoration.plan import Plan
    from sdsr.restoration.sample import Sampled
    from sdsr.restoration.windowed import Windowed
    from sdsr.upscaling import Upscaler

FIDELITIES = (0.0, 0.5, 1.0)
_LATENT, _SETUP = "clean", "setup"
_LONGEST_NAME = 200  # bytes; a file system allows 255
_SHORTENED_NAME = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Tradeoff:
    """What is run: `steps` is the plan's length (None: the method's own); latents are kept in `folder`."""

    folder: Path
    fidelities: tuple[float, ...] = FIDELITIES
    steps: int | None = None
    seed: int = 0


def scored(
    upscaler: "Upscaler",
    subjects: Sequence[Subject],
    tradeoff: Tradeoff,
    protocol: Protocol,
    on_done: Callable[[], None] = lambda: None,
) -> dict[str, Scores]:
    """Return the scores of each fidelity on the same photos, each restored to its truth's size.

    Behind the protocol's measures stands how near the results, reduced again, are to their LQ photos.

    Raises InputError, before anything is restored, where the method has no such choice.
    """
    plans = {f"fidelity {each:g}": upscaler.plan(tradeoff.steps, fidelity=each) for each in tradeoff.fidelities}
    latents = Latents(folder=tradeoff.folder, model=_identity(upscaler), seed=tradeoff.seed)
    near: dict[str, list[float]] = {label: [] for label in plans}

    def pictures(subject: Subject) -> Iterator[tuple[str, Pixels]]:
        lq = subject.lq()
        for label, pixels in _pictures(upscaler, plans, latents, subject):
            near[label].append(consistency(pixels, lq))
            yield label, pixels

    rows = tabulated(subjects, pictures, protocol, on_done)
    return {label: with_consistency(scores, near[label]) for label, scores in rows.items()}


def evenly_spaced(subjects: Sequence[Subject], count: int | None) -> tuple[Subject, ...]:
    """Return `count` of the photos, from the middle of as many equal parts; all of them for None."""
    if count is None or count >= len(subjects):
        return tuple(subjects)
    return tuple(subjects[(2 * index + 1) * len(subjects) // (2 * count)] for index in range(count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Latents:
    """Restored latents in files of a folder, one for each photo and all that it depends on: `model`, seed, plan, size.

    The file's name holds a digest of these, its metadata the words.
    """

    folder: Path
    model: str
    seed: int

    @torch.inference_mode()
    def of(self, name: str, restorer: "Windowed", photograph: "Photograph", plan: "Plan") -> "Sampled":
        """Return what was restored of a photo: from its file, or now, and then written there."""
        from sdsr.restoration.sample import Sampled, sample

        setup, noise = self._setup(restorer, photograph, plan), CanvasNoise(seeds=(self.seed,))
        path = self.folder / _file_name(name, setup)
        if path.exists():
            seen = restorer.observe(photograph, None, noise)
            clean = _read(path).to(restorer.restorer.prior.device)
            return Sampled(t=plan.times[-1], clean=clean, seen=seen, last=True)
        sampled = sample(restorer, photograph, plan, noise)
        save_bytes(save({_LATENT: sampled.clean.cpu().contiguous()}, {_SETUP: setup}), path)
        return sampled

    def _setup(self, restorer: "Windowed", photograph: "Photograph", plan: "Plan") -> str:
        (height, width), region = photograph.size, photograph.region
        given = sha256(photograph.given.numpy().tobytes()).hexdigest()[:12]
        times = " ".join(map(str, plan.times))
        return (
            f"{self.model}, seed {self.seed}, photo {given} to {width}x{height} by {photograph.kernel.name}, "
            f"canvas of {region.width}x{region.height} px from ({region.left}, {region.top}), "
            f"windows of {restorer.window_px} px, {restorer.overlap_px} shared, "
            f"from {plan.start_time}, times {times}, guidance {plan.guidance:g}, {plan.refinement}"
        )


def _pictures(
    upscaler: "Upscaler", plans: "Mapping[str, Plan]", latents: Latents, subject: Subject
) -> Iterator[tuple[str, Pixels]]:
    """Yield a photo's results under each of the plans, restored once for all that differ in the decoder alone."""
    canvas = Canvas.of(upscaler, subject)
    known: dict[Plan, Sampled] = {}
    for label, plan in plans.items():
        way = replace(plan, fidelity=0.0)
        if way not in known:
            known[way] = latents.of(subject.name, canvas.restorer, canvas.photograph, way)
        yield label, canvas.finished(replace(known[way], fidelity=plan.fidelity))


DECODERS = ("feature_wrapping", "decoder")
"""Parts that decode, and change no latent."""


def _identity(upscaler: "Upscaler") -> str:
    """What restores: the prior and all parts but the decoder's, so that one decoder's latents are another's, too."""
    restorer = upscaler.restorer
    parts = {name: part for name, part in restorer.parts.modules.items() if name not in DECODERS}
    return f"{upscaler.recipe.name} {module_sha256(nn.ModuleDict(parts))} on {restorer.prior.sha256}"


def _read(path: Path) -> torch.Tensor:
    try:
        return load_file(path)[_LATENT]
    except (SafetensorError, KeyError, OSError) as error:
        raise InputError(f"latent (={path}) can't be read ({error}); delete it to restore the photo again.") from error


def _file_name(photo: str, setup: str) -> str:
    """Return the name of a photo's file; of one in a folder of the tree, or with a long name, the digest tells more."""
    plain = "/" not in photo and len(photo.encode(errors="surrogateescape")) <= _LONGEST_NAME
    known = setup if plain else f"{photo}\n{setup}"
    digest = sha256(known.encode(errors="surrogateescape")).hexdigest()[:12]
    return f"{photo if plain else photo.rpartition('/')[2][:_SHORTENED_NAME]}.{digest}.safetensors"
