"""The small prior as a folder: `config.json` and a safetensors file for each of four parts, in float16 or 8 bits."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn

from sdsr.diffusion.curves import SchedulerConfig
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.digests import combined_sha256, file_sha256
from sdsr.errors import ModelError
from sdsr.prior.eight_bits import quantize
from sdsr.prior.network_config import NetworkConfig
from sdsr.prior.prior import Prior
from sdsr.prior.running import lay_out
from sdsr.prior.small import NATIVE_SIZE_PX, PromptTable, SmallImageEncoder, SmallLatents, small_unet
from sdsr.prior.small_autoencoder import SmallAutoencoder
from sdsr.prior.unet import UNetBackbone
from sdsr.prior.weight_files import check_finite, fill, module_sha256, read_tensors

FORMAT = 1
PART_NAMES = ("autoencoder", "unet", "prompts", "image_encoder")
CONFIG_NAME = "config.json"
AUTOENCODER_KIND = "block transform"
"""The only one that a folder may state."""

_LINEAR = ("encoder.linear.weight", "decoder.linear.weight")
"""Stay in float16 also where others are in 8 bits: colors go through the linear paths, and the default's graphs point
there."""

SCHEDULE: SchedulerConfig = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
}
"""Stable Diffusion's. A network this small and this briefly trained predicts velocity (arXiv:2202.00512): an estimate
from noise multiplies its errors by up to 14.6 at late times, where most of what it can know, colors and shapes, is
decided."""


class SmallConfig(TypedDict):
    """A small prior's `config.json`: what its four networks are made of, and what they were trained with.

    `succeeds`: the sha256 of priors that it takes the place of, its weights being theirs but for their rounding.
    """

    format: int
    native_size_px: int
    schedule: SchedulerConfig
    autoencoder_kind: NotRequired[str]
    autoencoder: NetworkConfig
    unet: NetworkConfig
    prompts: NetworkConfig
    image_encoder: NetworkConfig
    succeeds: NotRequired[list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallParts:
    """The four modules that a small prior consists of; each field's name is that of its file."""

    autoencoder: SmallAutoencoder
    unet: UNet2DConditionModel
    prompts: PromptTable
    image_encoder: SmallImageEncoder

    @classmethod
    def of(cls, prior: Prior) -> "SmallParts":
        """Return the parts of a small prior."""
        return cls(**{name: prior.modules[name] for name in PART_NAMES})  # pyright: ignore[reportArgumentType]

    @property
    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({name: getattr(self, name) for name in PART_NAMES})

    def prior(
        self,
        *,
        name: str,
        sha256: str,
        native_px: int,
        schedule: NoiseSchedule,
        dtype: torch.dtype,
        succeeds: tuple[str, ...] = (),
    ) -> Prior:
        """Return the prior made of these parts, which are from now on frozen, in evaluation mode and on the CPU."""
        modules = self.modules.eval().requires_grad_(False)
        for module in modules.values():
            lay_out(module, "cpu")
        return Prior(
            name=name,
            sha256=sha256,
            autoencoder=SmallLatents(self.autoencoder),
            backbone=UNetBackbone(self.unet),
            text=self.prompts,
            image=self.image_encoder,
            schedule=schedule,
            modules=modules,
            native_px=native_px,
            dtype=dtype,
            succeeds=succeeds,
        )


def is_small_prior(folder: Path) -> bool:
    """Whether a folder holds a small prior, or what is left of one."""
    return (folder / CONFIG_NAME).is_file() and any((folder / f"{name}.safetensors").is_file() for name in PART_NAMES)


def fresh_small_prior(
    autoencoder: SmallAutoencoder,
    seed: int = 0,
    *,
    widths: tuple[int, ...] = (160, 160),
    dtype: torch.dtype = torch.float32,
) -> Prior:
    """Return a small prior that has a trained autoencoder, and a UNet and encoders as `seed` initialises them.

    Everything in it is frozen; a trainer unfreezes what it trains. `sha256` is that of the tensors at this moment.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = SmallParts(
            autoencoder=autoencoder,
            unet=small_unet(autoencoder.config["latent_channels"], widths),
            prompts=PromptTable(),
            image_encoder=SmallImageEncoder(),
        )
    sha256 = module_sha256(parts.modules)
    return parts.prior(
        name="fresh-small",
        sha256=sha256,
        native_px=NATIVE_SIZE_PX,
        schedule=NoiseSchedule.from_config(SCHEDULE),
        dtype=dtype,
    )


def save_small_prior(prior: Prior, folder: Path, *, bits: int = 16) -> str:
    """Write a small prior's folder, and return the sha256 it now has.

    Parameters are stored in float16, with `bits` = 8 large weights in 8 bits; statistics are as they are.
    """
    parts = SmallParts.of(prior)
    config = _describe(parts, prior)
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in parts.modules.items():
        path = _weights_path(folder, name)
        tensors = {key: tensor.detach().cpu() for key, tensor in module.state_dict().items()}
        parameters = {key: tensors[key] for key, _ in module.named_parameters()}
        check_finite(parameters, path)
        tensors |= {key: tensor.half() for key, tensor in parameters.items()}
        tensors |= quantize(parameters, but=_LINEAR) if bits == 8 else {}
        check_finite(tensors, path)
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
    (folder / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return small_prior_sha256(folder)


def load_small_prior(
    folder: Path, *, name: str = "small", device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Prior:
    """Return the small prior that `save_small_prior` wrote; raise ModelError where files are missing or damaged."""
    config = _read_config(folder)
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        parts = _build(config)
    for part, module in parts.modules.items():
        path = _weights_path(folder, part)
        fill(module, read_tensors(path), path)
    sha256 = small_prior_sha256(folder)
    return parts.prior(
        name=name,
        sha256=sha256,
        native_px=config["native_size_px"],
        schedule=NoiseSchedule.from_config(config["schedule"]),
        dtype=dtype,
        succeeds=tuple(config.get("succeeds", ())),
    ).to(device)


def small_prior_sha256(folder: Path) -> str:
    """Return the sha256 of a small prior's weight files together."""
    return combined_sha256(file_sha256(_weights_path(folder, name)) for name in PART_NAMES)


def _weights_path(folder: Path, part: str) -> Path:
    return folder / f"{part}.safetensors"


def _read_config(folder: Path) -> SmallConfig:
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise ModelError(f"prior (={folder}) has no {CONFIG_NAME}; reinstall sdsr where it is the embedded one.")
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("format") != FORMAT:
        raise ModelError(f"format (={config.get('format')}) of {path} must be {FORMAT}; update sdsr or the weights.")
    kind = config.get("autoencoder_kind", AUTOENCODER_KIND)
    if kind != AUTOENCODER_KIND:
        raise ModelError(f"autoencoder_kind (={kind!r}) of {path} must be {AUTOENCODER_KIND!r}; update sdsr.")
    return config


def _describe(parts: SmallParts, prior: Prior) -> SmallConfig:
    schedule: SchedulerConfig = {**SCHEDULE, "prediction_type": prior.schedule.prediction_type}
    times = torch.arange(prior.schedule.steps)
    assert torch.equal(NoiseSchedule.from_config(schedule).signal(times), prior.schedule.signal(times)), (
        "a small prior has the schedule of Stable Diffusion"
    )
    convolutions = [layer for layer in parts.image_encoder.layers if isinstance(layer, nn.Conv2d)]
    _, tokens, width = parts.prompts.table.shape
    config: SmallConfig = {
        "format": FORMAT,
        "native_size_px": prior.native_px,
        "schedule": schedule,
        "autoencoder_kind": AUTOENCODER_KIND,
        "autoencoder": _public(parts.autoencoder.config),
        "unet": _public(parts.unet.config),
        "prompts": {"prompts": parts.prompts.prompts, "tokens": tokens, "width": width},
        "image_encoder": {
            "widths": [convolution.out_channels for convolution in convolutions],
            "width": parts.image_encoder.out.out_features,
        },
    }
    return {**config, "succeeds": list(prior.succeeds)} if prior.succeeds else config


def _build(config: SmallConfig) -> SmallParts:
    return SmallParts(
        autoencoder=SmallAutoencoder(**_tuples(config["autoencoder"])),
        unet=UNet2DConditionModel(**_tuples(config["unet"])),
        prompts=PromptTable(**_tuples(config["prompts"])),
        image_encoder=SmallImageEncoder(**_tuples(config["image_encoder"])),
    )


def _public(config: NetworkConfig) -> NetworkConfig:
    return {key: value for key, value in config.items() if not key.startswith("_")}


def _tuples(config: NetworkConfig) -> NetworkConfig:
    """JSON has lists only; the modules want tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
