"""A published Stable Diffusion (1.x, 2.x, Turbo) from a folder in diffusers' layout, as a Prior.

transformers is imported by the functions that need it, since that takes seconds.
"""

import copy
import functools
import json
import logging
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from torch import FloatTensor, Tensor, nn

from sdsr.diffusion.curves import SchedulerConfig
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.digests import file_sha256
from sdsr.errors import ModelError
from sdsr.prior.group_statistics import Statistics, imposed, mosaic, mosaic_of_picture, recorded
from sdsr.prior.notes import OwnLock, TensorNotes
from sdsr.prior.offloading import device_of
from sdsr.prior.posterior import Picture, Posterior, decode_around, encode_in_parts
from sdsr.prior.prior import Prior
from sdsr.prior.unet import UNetBackbone
from sdsr.prior.weight_files import check_finite, own_tensors
from sdsr.tensors import Image, Latent, Region, Tokens

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

Network = TypeVar("Network", bound=nn.Module)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
MODEL_FOLDERS = ("vae", "unet", "text_encoder")
FLOW_FOLDERS = ("vae", "transformer")
WINDOW_CELLS = 128
_CACHED_PROMPTS = 64
_MAPS_ALIVE = 6  # of the first level's width in float32, a value for each pixel, as are counted
_VARIANTS = (None, "fp16")

_log = logging.getLogger(__name__)


class PublishedLatents:
    """An AutoencoderKL as a prior sees it: scaled, and shifted or whitened where its config says so.

    A latent of more than `tile_cells` a side is encoded and decoded in parts that share the statistics of one mosaic
    of it, so that normalisation makes no step in tone between them. Two things differ from doing it all at once: the
    statistics are a sample's, and the middle block's attention sees only the part and its margin, which may leave a
    trace of one.
    """

    def __init__(self, model: AutoencoderKL, tile_cells: int = WINDOW_CELLS) -> None:
        config = model.config
        self.model = model
        self.factor: int = 2 ** (len(config["block_out_channels"]) - 1)
        self.channels: int = config["latent_channels"]
        self.tile_cells = tile_cells
        self._lock = OwnLock()
        self._statistics = TensorNotes()
        shape = (1, -1, 1, 1)
        std = torch.tensor(config.get("latents_std") or [1.0]).view(shape)
        self._scale = config["scaling_factor"] / std
        self._shift = torch.tensor(config.get("latents_mean") or [config.get("shift_factor") or 0.0]).view(shape)

    def in_tiles(self, tile_cells: int) -> "PublishedLatents":
        if tile_cells >= self.tile_cells:
            return self
        smaller = copy.copy(self)  # with its lock: what one imposes on the network, the other mustn't see
        smaller.tile_cells = tile_cells
        smaller._statistics = TensorNotes()
        return smaller

    @property
    def part_px(self) -> int:
        return (self.tile_cells + 2 * self.margin) * self.factor

    @property
    def bytes_per_px(self) -> int:
        return _MAPS_ALIVE * 4 * self.model.config["block_out_channels"][0]

    @property
    def kernels(self) -> tuple[int, int]:
        width = self.model.config["block_out_channels"][-1]
        return width, width

    @property
    def has_deviation(self) -> bool:
        return True

    def posterior(self, image: Image) -> Posterior:
        with self._lock:
            return self._encode(image)

    def posterior_of(self, picture: Picture, size: tuple[int, int]) -> Posterior:
        whole = Region.whole(*size)
        with self._lock:
            if max(size) <= self.tile_cells:
                return self._encode(picture(whole.scaled(self.factor)))
            with torch.no_grad(), recorded(self.model.encoder) as statistics:
                self._encode(mosaic_of_picture(picture, size, self.tile_cells, self.factor))
            with imposed(statistics):
                return encode_in_parts(
                    self._encode,
                    picture,
                    size,
                    side=self.tile_cells,
                    margin=self.encoder_margin,
                    factor=self.factor,
                )

    def decode(self, latent: Latent) -> Image:
        with self._lock:
            return self._decode(latent)

    def decode_part(self, latent: Latent, cells: Region) -> Image:
        if max(latent.shape[-2:]) <= self.tile_cells:
            return self.decode(latent)[cells.scaled(self.factor).slices]
        with self._lock, imposed(self._statistics_of(latent)):
            return decode_around(self._decode, latent, cells, margin=self.margin, factor=self.factor)

    @property
    def margin(self) -> int:
        """Cells of context beyond which the decoder's convolutions see nothing."""
        scales = [2**-level for level in range(len(self.model.config["block_out_channels"]))]
        in_blocks = 2 * (self.model.config["layers_per_block"] + 1) * sum(scales)
        ends = 1 + scales[-1]
        middle = 4
        upsamplers = sum(scales[1:])
        return ceil(ends + middle + in_blocks + upsamplers)

    @property
    def encoder_margin(self) -> int:
        """Cells of context beyond which the encoder's convolutions see nothing."""
        scales = [2**level for level in range(len(self.model.config["block_out_channels"]))]
        in_blocks = 2 * self.model.config["layers_per_block"] * sum(scales)
        start = 1
        downsamplers = 2 * sum(scales[:-1])
        middle_and_end = 5 * scales[-1]
        return ceil((start + in_blocks + downsamplers + middle_and_end) / self.factor)

    def _statistics_of(self, latent: Latent) -> Statistics:
        """The statistics to decode all parts of this latent with, remembered as long as the latent lives."""
        if latent not in self._statistics:
            with torch.no_grad(), recorded(self.model.decoder) as statistics:
                self._decode(mosaic(latent, self.tile_cells))
            self._statistics[latent] = statistics
        return self._statistics[latent]

    def _encode(self, image: Image) -> Posterior:
        posterior = self.model.encode(2 * image - 1, return_dict=False)[0]
        mean = posterior.mean.float()
        std = posterior.std.float()
        scale, shift = self._moments(mean.device)
        return Posterior(mean=(mean - shift) * scale, std=std * scale)

    def _decode(self, latent: Latent) -> Image:
        scale, shift = self._moments(latent.device)
        latent = latent / scale + shift
        (image,) = self.model.decode(cast(FloatTensor, latent), return_dict=False)
        return (image.float() + 1) / 2  # bfloat16 would have steps of 1/256 there

    def _moments(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """What latents are scaled and shifted by, there already after the first time: to copy it makes a card wait."""
        if self._scale.device != device:
            with torch.inference_mode(False):
                self._scale = self._scale.to(device)
                self._shift = self._shift.to(device)
        return self._scale, self._shift


class ClipText:
    """Prompts, padded to the tokenizer's length, to the last hidden states; the latest prompts are remembered."""

    vocabulary = None

    def __init__(self, model: "CLIPTextModel", tokenizer: "CLIPTokenizer") -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._remembered = functools.lru_cache(_CACHED_PROMPTS)(self._tokens)

    def __reduce__(self) -> tuple[object, ...]:
        """A copy, or what was pickled, remembers prompts of its own model."""
        return ClipText, (self.model, self.tokenizer)

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        return torch.cat([self._remembered(prompt).to(device_of(self.model)) for prompt in prompts])

    def _tokens(self, prompt: str) -> Tokens:
        length = self.tokenizer.model_max_length
        words = len(self.tokenizer(prompt).input_ids)
        if words > length:
            _log.warning("The prompt has %d tokens; only the first %d are used: %r", words, length, prompt)
        ids = self.tokenizer(prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        with torch.inference_mode(False), torch.no_grad():  # a remembered tensor may be needed by autograd later
            return self.model(ids.input_ids.to(device_of(self.model))).last_hidden_state.float()


class ClipImage:
    """CLIP's image tower: a photo squashed to its size, bicubic without antialiasing, to the projected embedding.

    The embedding is not normalised (ConsisSR; the photo's proportions are ignored as there).
    """

    def __init__(self, model: "CLIPVisionModelWithProjection") -> None:
        self.model = model
        self.size_px = cast(int, model.config.image_size)

    @property
    def width(self) -> int:
        return cast(int, self.model.config.projection_dim)

    def __call__(self, image: Image) -> Tensor:
        """Return the embedding, (b, d)."""
        mean, std = (torch.tensor(values, device=image.device).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
        size = (self.size_px, self.size_px)
        squashed = image if image.shape[-2:] == size else F.interpolate(image, size, mode="bicubic")
        return self.model((squashed - mean) / std).image_embeds


def load_stable_diffusion(folder: Path, *, name: str, sha256: str, dtype: torch.dtype) -> Prior:
    """Return the frozen prior in `folder`, on the CPU, with an image encoder where it has one; raise ModelError."""
    from transformers import CLIPTextModel, CLIPTokenizer

    modules = nn.ModuleDict()
    vae = modules["autoencoder"] = load_network(AutoencoderKL, folder, "vae", dtype)
    unet = modules["unet"] = load_network(UNet2DConditionModel, folder, "unet", dtype)
    text = modules["text_encoder"] = load_network(CLIPTextModel, folder, "text_encoder", dtype)
    _check_shape(folder, vae, unet, text)
    image = None
    if (folder / "image_encoder").is_dir():
        image = load_image_encoder(folder / "image_encoder", dtype=dtype)
        modules["image_encoder"] = image.model
    latents = PublishedLatents(vae)
    return Prior(
        name=name,
        sha256=sha256,
        autoencoder=latents,
        backbone=UNetBackbone(unet),
        text=ClipText(text, CLIPTokenizer.from_pretrained(existing_part(folder, "tokenizer", "tokenizer_config.json"))),
        image=image,
        schedule=NoiseSchedule.from_config(scheduler_config(folder)),
        modules=modules.eval(),
        native_px=unet.config["sample_size"] * latents.factor,
        dtype=dtype,
    )


def load_image_encoder(folder: Path, *, dtype: torch.dtype = torch.float32) -> ClipImage:
    """Return the frozen CLIP image tower whose config and weights lie in `folder`."""
    from transformers import CLIPVisionModelWithProjection

    return ClipImage(load_network(CLIPVisionModelWithProjection, folder, "", dtype))


def weight_digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of the weight files of a prior in diffusers' layout, by their path in the folder.

    Text encoders of a flow-matching prior don't count: embeddings may have been stored in their place. Raises
    ModelError where a part that counts isn't there.
    """
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in prior_weight_files(folder)}


def prior_weight_files(folder: Path) -> list[Path]:
    """Return the weight files that a prior in diffusers' layout is known by; raise ModelError where a part has none."""
    parts = FLOW_FOLDERS if (folder / "transformer").is_dir() else MODEL_FOLDERS
    found = {part: _weight_files(existing_part(folder, part, "config.json")) for part in parts}
    for part, files in found.items():
        if not files:
            raise ModelError(f"prior (={folder}) has no weights (*.safetensors) in {part}; download them again.")
    return [path for files in found.values() for path in files]


def stored_in(layer: nn.Module, dtype: torch.dtype) -> torch.dtype:
    """Return what a layer's parameters are stored in: `dtype`, or float32 where it normalises; autocast mixes both."""
    return torch.float32 if isinstance(layer, nn.GroupNorm | nn.LayerNorm) else dtype


def load_network(kind: type[Network], folder: Path, subfolder: str, dtype: torch.dtype) -> Network:
    """A part of the prior: strictly read, finite, frozen, channels_last; safetensors only."""
    path = existing_part(folder, subfolder, "config.json")
    variant = _variant(path)
    precision = "dtype" if kind.__module__.startswith("transformers") else "torch_dtype"
    try:
        model, info = kind.from_pretrained(  # pyright: ignore[reportAttributeAccessIssue]  (diffusers' and transformers')
            path, variant=variant, use_safetensors=True, output_loading_info=True, **{precision: _dtype_in_files(path)}
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"weights (={path}) can't be loaded ({_first_line(error)}); download them again.") from error
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ModelError(f"weights (={path}) lack {len(missing)} tensors, {missing[0]} first; download them again.")
    check_finite(model.state_dict(), path)
    model.eval().requires_grad_(False)
    own_tensors(model, lambda layer: stored_in(layer, dtype))
    return model


def _dtype_in_files(path: Path) -> torch.dtype:
    """Return the dtype that all weights of a part are stored in, float32 where they differ: one that loses nothing."""
    found = set()
    for file in _weight_files(path):
        with safe_open(file, "pt") as held:
            found |= {held.get_slice(name).get_dtype() for name in held.keys()}  # noqa: SIM118  (it is no dict)
    halves = [half for name, half in (("F16", torch.float16), ("BF16", torch.bfloat16)) if name in found]
    return halves[0] if len(halves) == 1 and not found & {"F32", "F64"} else torch.float32


def _variant(path: Path) -> str | None:
    """The variant whose weight files are there, the plain one first."""
    for variant in _VARIANTS:
        if list(path.glob(f"*.{variant}*.safetensors" if variant else "*model.safetensors")):
            return variant
    return None


def _weight_files(path: Path) -> list[Path]:
    variant = _variant(path)
    files = sorted(path.glob("*.safetensors"))
    return [file for file in files if (".fp16" in file.name) == (variant is not None)]


def existing_part(folder: Path, subfolder: str, file: str) -> Path:
    """Return the folder of a part that has this file; raise ModelError where it hasn't."""
    if not (folder / subfolder / file).is_file():
        raise ModelError(
            f"prior (={folder}) has no {Path(subfolder, file)}; give a folder in diffusers' layout, with vae, unet, "
            "text_encoder, tokenizer and scheduler."
        )
    return folder / subfolder


def scheduler_config(folder: Path) -> SchedulerConfig:
    """Return what `scheduler_config.json` of a prior's folder says; raise ModelError."""
    path = existing_part(folder, "scheduler", "scheduler_config.json") / "scheduler_config.json"
    return json.loads(path.read_text(encoding="utf-8"))


def _check_shape(folder: Path, vae: AutoencoderKL, unet: UNet2DConditionModel, text: "CLIPTextModel") -> None:
    """Raise ModelError where this is no Stable Diffusion 1.x or 2.x: other latents, other tokens, extra conditions."""
    latents = vae.config["latent_channels"], unet.config["in_channels"]
    widths = text.config.hidden_size, unet.config["cross_attention_dim"]
    if latents[0] != latents[1] or widths[0] != widths[1] or unet.config["addition_embed_type"] is not None:
        raise ModelError(
            f"prior (={folder}) is no text-to-image Stable Diffusion 1.x or 2.x (latent channels {latents[0]} and "
            f"{latents[1]}, token widths {widths[0]} and {widths[1]}); choose another one."
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
