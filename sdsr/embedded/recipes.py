"""Recipes of the embedded small models that are no method of a paper: the autoencoder, the prior, the perceptual net.

They are trained in this order: `small-autoencoder`, then `small-prior` (with `--prior` the folder of the
autoencoder's parts), then `small-perceptual`, which needs neither. `tiny-decoder` stands on any
prior that is trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from sdsr.embedded import FACTS
from sdsr.embedded.autoencoder import Reconstruction
from sdsr.embedded.prior_matching import PriorMatching
from sdsr.embedded.severity import Severity
from sdsr.embedded.tiny_decoder import DecoderDistillation, NewTinyDecoder
from sdsr.losses.small_perceptual import SmallPerceptual
from sdsr.methods.method import Device
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage
from sdsr.prior.eight_bits import quantize
from sdsr.prior.loading import choose_device, choose_dtype
from sdsr.prior.prior import Prior
from sdsr.prior.running import lay_out
from sdsr.prior.small_autoencoder import SmallAutoencoder
from sdsr.prior.small_storage import fresh_small_prior
from sdsr.prior.weight_files import check_finite, fill, read_tensors

PERCEPTUAL_NAME = "perceptual.safetensors"


def read_autoencoder(folder: Path) -> SmallAutoencoder:
    """Return the autoencoder of a training run's folder of parts."""
    autoencoder = SmallAutoencoder()
    path = folder / "autoencoder.safetensors"
    fill(autoencoder, read_tensors(path), path)
    return autoencoder


def read_prior(autoencoder_folder: Path, parts: Path) -> Prior:
    """Return the prior of two training runs' folders of parts: that of its autoencoder, and its own."""
    prior = fresh_small_prior(read_autoencoder(autoencoder_folder))
    for name, module in prior.modules.items():
        if name != "autoencoder":
            path = parts / f"{name}.safetensors"
            fill(module, read_tensors(path), path)
    return prior


def save_perceptual(parts: Path, folder: Path, facts: Mapping[str, str], *, bits: int = 16) -> None:
    """Write the network of a training run's folder of parts in float16, or large weights in 8 `bits`.

    `facts` become the file's metadata.
    """
    network = SmallPerceptual()
    source = parts / PERCEPTUAL_NAME
    target = folder / PERCEPTUAL_NAME
    fill(network, read_tensors(source), source)
    tensors = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    tensors |= quantize(network.state_dict()) if bits == 8 else {}
    check_finite(tensors, target)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target, {"format": "sdsr-small-perceptual", **facts})


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoencoder:
    """A small prior's autoencoder: a new one, or `trained`, that of a folder which is given as the prior's name."""

    trained: bool = False

    def build(self, prior: str | Prior, device: Device = None) -> SmallAutoencoder:
        autoencoder = read_autoencoder(Path(str(prior))) if self.trained else SmallAutoencoder()
        return lay_out(autoencoder, device or choose_device())


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallPrior:
    """A small prior, new but for its autoencoder, whose folder is given as the prior's name."""

    def build(self, prior: str | Prior, device: Device = None) -> Prior:
        chosen = torch.device(device or choose_device())
        autoencoder = read_autoencoder(Path(str(prior)))
        return fresh_small_prior(autoencoder, torch.initial_seed(), dtype=choose_dtype(chosen)).to(chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Perceptual:
    """A new perceptual network; it stands on no prior."""

    def build(self, prior: str | Prior, device: Device = None) -> SmallPerceptual:
        return lay_out(SmallPerceptual(), device or choose_device())


SMALL_AUTOENCODER = Recipe(
    facts=FACTS["small-autoencoder"],
    stages=(
        Stage(
            name="reconstruction",
            method=Autoencoder(),
            objective=Reconstruction(),
            optimizer=OptimizerSettings(learning_rate=1e-3, warmup_steps=100, decay_from=0.4),
            steps=20_000,
            batch=16,
            crop_px=128,
        ),
        Stage(
            name="decoder",
            method=Autoencoder(trained=True),
            objective=Reconstruction(unevenness=1.0, train_encoder=False),
            optimizer=OptimizerSettings(learning_rate=5e-4, warmup_steps=30, decay_from=0.3),
            steps=20_000,
            batch=16,
            crop_px=128,
            ema_decay=0.99,
        ),
    ),
)

SMALL_PRIOR = Recipe(
    facts=FACTS["small-prior"],
    stages=(
        Stage(
            name="noise-matching",
            method=SmallPrior(),
            objective=PriorMatching(),
            optimizer=OptimizerSettings(learning_rate=5e-4, warmup_steps=100, decay_from=0.5),
            steps=20_000,
            batch=24,
            crop_px=128,
            degradation="photo",
        ),
    ),
)

SMALL_PERCEPTUAL = Recipe(
    facts=FACTS["small-perceptual"],
    stages=(
        Stage(
            name="severity",
            method=Perceptual(),
            objective=Severity(),
            optimizer=OptimizerSettings(learning_rate=1e-3, warmup_steps=50, decay_from=0.5),
            steps=10_000,
            batch=12,
            crop_px=96,
        ),
    ),
)

TINY_DECODER = Recipe(
    facts=FACTS["tiny-decoder"],
    stages=(
        Stage(
            name="distillation",
            method=NewTinyDecoder(),
            objective=DecoderDistillation(),
            optimizer=OptimizerSettings(learning_rate=1e-3, warmup_steps=50, decay_from=0.4),
            steps=20_000,
            batch=16,
            crop_px=128,
            ema_decay=0.99,
        ),
    ),
)

SMALL_RECIPES = {recipe.name: recipe for recipe in (SMALL_AUTOENCODER, SMALL_PRIOR, SMALL_PERCEPTUAL, TINY_DECODER)}
