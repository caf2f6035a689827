"""D3SR's discriminator (arXiv:2410.04224): a pretrained diffusion UNet without its decoder judges noised latents."""

from collections.abc import Sequence
from typing import Literal

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from sdsr.adapters.lora import inject_lora
from sdsr.tensors import Latent, Time, Tokens


def drop_decoder(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """`unet` itself, without the blocks after the middle; of SDXL's 2.57 billion parameters 1.24 remain."""
    unet.up_blocks = nn.ModuleList()
    for name in ("conv_norm_out", "conv_act", "conv_out"):
        unet.register_module(name, None)
    return unet


def down_and_mid(
    unet: UNet2DConditionModel,
    sample: Latent,
    t: Time,
    context: Tokens,
    added: dict[str, Tensor] | None = None,
) -> list[Tensor]:
    """The output of each down block, then of the mid block, as in the UNet's own forward pass.

    `added` are the `added_cond_kwargs` of diffusers, which SDXL wants.
    """
    embedding = unet.time_embedding(unet.get_time_embed(sample=sample, timestep=t))
    added_embedding = unet.get_aug_embed(emb=embedding, encoder_hidden_states=context, added_cond_kwargs=added or {})
    if added_embedding is not None:
        embedding = embedding + added_embedding
    if unet.time_embed_act is not None:
        embedding = unet.time_embed_act(embedding)
    context = unet.process_encoder_hidden_states(encoder_hidden_states=context, added_cond_kwargs=added or {})
    x = unet.conv_in(sample)
    features = []
    for block in unet.down_blocks:
        listens = {"encoder_hidden_states": context} if getattr(block, "has_cross_attention", False) else {}
        x, _ = block(hidden_states=x, temb=embedding, **listens)
        features.append(x)
    if unet.mid_block is not None:
        listens = {"encoder_hidden_states": context} if getattr(unet.mid_block, "has_cross_attention", False) else {}
        features.append(unet.mid_block(x, embedding, **listens))
    return features


def unconditional(unet: UNet2DConditionModel, batch: int, like: Tensor) -> tuple[Tokens, dict[str, Tensor]]:
    """A context of zeros, and, where the UNet wants them as SDXL does, a pooled text of zeros and the size 1024x1024.

    One token of zeros acts as 77 do: keys and values have no bias, so all values are zero.
    """
    config = unet.config
    context = like.new_zeros(batch, 1, config["cross_attention_dim"])
    if config["addition_embed_type"] != "text_time":
        return context, {}
    sizes = like.new_tensor([1024, 1024, 0, 0, 1024, 1024]).expand(batch, 6)
    width = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
    return context, {"text_embeds": like.new_zeros(batch, width), "time_ids": sizes}


class DiffusionDiscriminator(nn.Module):
    """Logits per place, high for real, of noised latents: small heads on the mid block and, if asked, on down blocks.

    It owns `unet` and drops its decoder. The caller draws `t` and noises both sides. `train` says what learns besides
    the heads: low-rank updates, all weights, or nothing. A small UNet's middle alone is coarse, so `heads_on` adds
    heads on these down blocks.

    Deviation: the paper states neither the shape of its MLP nor its text condition; two 1x1 convolutions and zeros
    stand here.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        *,
        train: Literal["lora", "all", "heads"] = "lora",
        heads_on: Sequence[int] = (),
        hidden: int = 256,
        rank: int = 16,
    ) -> None:
        super().__init__()
        self.unet = drop_decoder(unet).requires_grad_(train == "all")
        if train == "lora":
            inject_lora(unet, rank=rank, alpha=rank)
        widths = unet.config["block_out_channels"]
        self.levels = (*heads_on, len(widths))
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, hidden, 1), nn.LeakyReLU(0.2), nn.Conv2d(hidden, 1, 1))
            for width in (*(widths[level] for level in heads_on), widths[-1])
        )

    def forward(self, noisy: Latent, t: Time, context: Tokens | None = None) -> list[Tensor]:
        """One map of logits per head, fine to coarse; without `context` the judgement is unconditional."""
        zeros, added = unconditional(self.unet, len(noisy), noisy)
        features = down_and_mid(self.unet, noisy, t, zeros if context is None else context, added)
        return [head(features[level]) for head, level in zip(self.heads, self.levels, strict=True)]
