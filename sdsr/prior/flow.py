"""A flow-matching transformer (Stable Diffusion 3's class of diffusers) from a folder in diffusers' layout, as a Prior.

What is told to it are tokens and one pooled embedding, which its time is mixed with. Here they travel together, as the
tokens of any other prior: the last token is the pooled embedding, filled up with zeros (`packed`). So methods that tell
words, or learn a prompt, need to know nothing of it.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from torch import Tensor, nn

from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.errors import InputError, ModelError
from sdsr.prior.condition import Condition
from sdsr.prior.flow_text import JointText, StoredPrompts, load_text, unpacked
from sdsr.prior.prior import Prior
from sdsr.prior.stable_diffusion import PublishedLatents, load_network, scheduler_config
from sdsr.tensors import Latent

_TOKEN_MAPS_ALIVE = 24
"""Maps of the transformer's width in float32, a value for each token, that are in memory at once: what a block makes of
them, feed-forward layers of four widths among it."""


@dataclass(frozen=True, slots=True)
class TransformerBackbone:
    """Predicts by a transformer of Stable Diffusion 3's class, which listens to a prompt alone."""

    network: SD3Transformer2DModel
    name = "transformer"

    def with_network(self, network: SD3Transformer2DModel) -> "TransformerBackbone":
        return TransformerBackbone(network)

    @property
    def multiple(self) -> int:
        """Cells of which a latent's sides are multiples: a token is a patch of them."""
        return self.network.config["patch_size"]

    @property
    def bytes_per_cell(self) -> int:
        """Memory in use at once for each cell of a latent in float32, weights aside."""
        return -(-_TOKEN_MAPS_ALIVE * 4 * self.network.inner_dim // self.multiple**2)

    @property
    def kernels(self) -> tuple[int, int]:
        return 0, 0

    @property
    def bears_two(self) -> bool:
        """Whether two conditions may be one batch in float32."""
        return False

    def predict(self, noisy: Latent, timestep: Tensor, condition: Condition) -> Latent:
        alone = condition.tokens is None and condition.residuals is None and condition.sft_features is None
        assert alone, "only a UNet listens to more than a prompt, and `Prior.unet` has refused this before"
        self._check_size(noisy)
        tokens, pooled = unpacked(condition.prompt, self.network.config["pooled_projection_dim"])
        return self.network(
            hidden_states=noisy,
            encoder_hidden_states=tokens.expand(len(noisy), -1, -1),
            pooled_projections=pooled.expand(len(noisy), -1),
            timestep=timestep,
            return_dict=False,
        )[0]

    def _check_size(self, noisy: Latent) -> None:
        """Raise InputError where the latent has more places than the network has embeddings of places."""
        most = self.network.config["pos_embed_max_size"] * self.multiple
        if max(noisy.shape[-2:]) > most:
            raise InputError(
                f"latent (={noisy.shape[-1]} x {noisy.shape[-2]}) must be at most {most} cells a side, the places that "
                "this prior knows; restore it in windows."
            )


def load_flow(folder: Path, *, name: str, sha256: str, dtype: torch.dtype) -> Prior:
    """Return the frozen prior in `folder`, on the CPU; raise ModelError.

    Its prompts are read by the text encoders that the folder holds: two CLIPs, and T5 if it is there (zeros in place of
    its tokens if not, as in diffusers). Without them, only prompts whose embeddings the folder has can be told; see
    `flow_text.store_prompts`.
    """
    vae = load_network(AutoencoderKL, folder, "vae", dtype)
    transformer = load_network(SD3Transformer2DModel, folder, "transformer", dtype)
    text, encoders = load_text(folder, dtype=dtype, width=transformer.config["joint_attention_dim"])
    return flow_prior(
        name=name,
        sha256=sha256,
        vae=vae,
        transformer=transformer,
        text=text,
        encoders=encoders,
        schedule=NoiseSchedule.from_config(scheduler_config(folder)),
        dtype=dtype,
    )


def flow_prior(
    *,
    name: str,
    sha256: str,
    vae: AutoencoderKL,
    transformer: SD3Transformer2DModel,
    text: JointText | StoredPrompts,
    encoders: dict[str, nn.Module],
    schedule: NoiseSchedule,
    dtype: torch.dtype,
) -> Prior:
    """Return the prior made of these networks, which must fit together; raise ModelError."""
    channels = vae.config["latent_channels"], transformer.config["in_channels"]
    if channels[0] != channels[1] or schedule.prediction_type != "flow_prediction":
        raise ModelError(
            f"prior (={name}) is no flow-matching model (latent channels {channels[0]} and {channels[1]}, predicts "
            f"{schedule.prediction_type}); choose another one."
        )
    latents = PublishedLatents(vae)
    modules = nn.ModuleDict({"autoencoder": vae, "transformer": transformer, **encoders})
    return Prior(
        name=name,
        sha256=sha256,
        autoencoder=latents,
        backbone=TransformerBackbone(transformer),
        text=text,
        schedule=schedule,
        modules=modules.eval(),
        native_px=transformer.config["sample_size"] * latents.factor,
        dtype=dtype,
    )
