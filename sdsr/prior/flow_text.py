"""Prompts of a flow-matching transformer: by its text encoders, or as embeddings that were stored before.

transformers is imported by the functions that need it, since that takes seconds.
"""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sdsr.errors import InputError, ModelError
from sdsr.prior.offloading import device_of
from sdsr.prior.stable_diffusion import existing_part, load_network
from sdsr.prior.weight_files import read_tensors
from sdsr.tensors import Float, Tokens

if TYPE_CHECKING:
    from transformers import CLIPTextModelWithProjection, PreTrainedTokenizerBase, T5EncoderModel

FILE = "prompts.safetensors"
T5_TOKENS = 256
_CACHED_PROMPTS = 64


def packed(tokens: Tokens, pooled: Float[Tensor, "b p"]) -> Float[Tensor, "b n+1 d"]:
    """Return the tokens and the pooled embedding as one more token, filled up with zeros."""
    width = tokens.shape[-1]
    return torch.cat([tokens, F.pad(pooled, (0, width - pooled.shape[-1]))[:, None].to(tokens)], dim=1)


def unpacked(packed: Float[Tensor, "b all d"], width: int) -> tuple[Tokens, Float[Tensor, "b p"]]:
    """Return the tokens, and the pooled embedding of this width, which `packed` has put together."""
    return packed[:, :-1], packed[:, -1, :width]


class StoredPrompts(nn.Module):
    """Prompts whose embeddings were stored, for priors without their text encoders."""

    vocabulary = None
    tokens: Tensor

    def __init__(self, prompts: Sequence[str], tokens: Tokens) -> None:
        """Take the packed tokens of each of the prompts."""
        super().__init__()
        self.prompts = tuple(prompts)
        self.register_buffer("tokens", tokens)

    def forward(self, prompts: Sequence[str]) -> Tokens:
        unknown = [prompt for prompt in prompts if prompt not in self.prompts]
        if unknown:
            raise InputError(
                f"prompt (={unknown[0]!r}) is none of the stored ones {list(self.prompts)}, and the prior has no text "
                "encoders; add text_encoder and text_encoder_2 to its folder, or store it with `store_prompts`."
            )
        return self.tokens[[self.prompts.index(prompt) for prompt in prompts]]


def store_prompts(text: Callable[[Sequence[str]], Tokens], prompts: Sequence[str], folder: Path) -> None:
    """Write the embeddings of prompts to a prior's folder, which then does without its text encoders.

    `text` is the `text` of a prior that has them.
    """
    with torch.no_grad():
        tokens = text(list(prompts)).detach().cpu().contiguous()
    save_file({"tokens": tokens}, folder / FILE, metadata={"prompts": json.dumps(list(prompts))})


@dataclass(frozen=True, slots=True)
class Reader:
    """A text encoder with its tokenizer; prompts are padded and cut to `length` tokens."""

    model: "CLIPTextModelWithProjection | T5EncoderModel"
    tokenizer: "PreTrainedTokenizerBase"
    length: int

    def __call__(self, prompts: Sequence[str], **wanted: bool) -> Any:
        ids = self.tokenizer(
            list(prompts), padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        )
        return self.model(ids.input_ids.to(device_of(self.model)), **wanted)


class JointText:
    """Two CLIPs, whose tokens lie side by side, and T5, whose tokens follow; the latest prompts are remembered.

    arXiv:2403.03206, Fig. 2. `width` is that of a token; without T5 there are as many zeros, as in diffusers.
    """

    vocabulary = None

    def __init__(self, clips: tuple[Reader, Reader], t5: Reader | None, width: int) -> None:
        self.clips = clips
        self.t5 = t5
        self.width = width
        self._remembered = functools.lru_cache(_CACHED_PROMPTS)(self._packed)

    def __reduce__(self) -> tuple[object, ...]:
        """A copy, or what was pickled, remembers prompts of its own models."""
        return JointText, (self.clips, self.t5, self.width)

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        device = device_of(self.clips[0].model)
        return torch.cat([self._remembered(prompt).to(device) for prompt in prompts])

    def _packed(self, prompt: str) -> Tokens:
        with torch.inference_mode(False), torch.no_grad():  # a remembered tensor may be needed by autograd later
            read = [clip([prompt], output_hidden_states=True) for clip in self.clips]
            side_by_side = torch.cat([each.hidden_states[-2] for each in read], dim=-1).float()
            clip_tokens = F.pad(side_by_side, (0, self.width - side_by_side.shape[-1]))
            pooled = torch.cat([each.text_embeds for each in read], dim=-1).float()
            if self.t5 is None:
                t5_tokens = clip_tokens.new_zeros(1, T5_TOKENS, self.width)
            else:
                t5_tokens = self.t5([prompt]).last_hidden_state.float()
            return packed(torch.cat([clip_tokens, t5_tokens], dim=1), pooled)


def load_text(
    folder: Path, *, dtype: torch.dtype, width: int
) -> tuple[JointText | StoredPrompts, dict[str, nn.Module]]:
    """Return what reads prompts of the prior in `folder`, and its networks by name; raise ModelError."""
    if not (folder / "text_encoder").is_dir():
        stored = _load_stored(folder)
        return stored, {"prompts": stored}
    from transformers import AutoTokenizer, CLIPTextModelWithProjection, T5EncoderModel

    networks: dict[str, CLIPTextModelWithProjection | T5EncoderModel] = {
        name: load_network(CLIPTextModelWithProjection, folder, name, dtype)
        for name in ("text_encoder", "text_encoder_2")
    }
    if (folder / "text_encoder_3").is_dir():
        networks["text_encoder_3"] = load_network(T5EncoderModel, folder, "text_encoder_3", dtype)
    readers = {}
    for name, network in networks.items():
        part = name.replace("text_encoder", "tokenizer")
        tokenizer = AutoTokenizer.from_pretrained(existing_part(folder, part, "tokenizer_config.json"))
        length = T5_TOKENS if name == "text_encoder_3" else tokenizer.model_max_length
        readers[name] = Reader(network, tokenizer, length)
    clips = readers["text_encoder"], readers["text_encoder_2"]
    return JointText(clips, readers.get("text_encoder_3"), width), dict(networks)


def _load_stored(folder: Path) -> StoredPrompts:
    path = folder / FILE
    if not path.is_file():
        raise ModelError(
            f"prior (={folder}) has neither text encoders nor {FILE}; give a folder with text_encoder and "
            "text_encoder_2, or store the embeddings of prompts with `sdsr.prior.flow_text.store_prompts`."
        )
    tokens = read_tensors(path)["tokens"].clone()
    with safe_open(path, "pt") as file:
        prompts = json.loads((file.metadata() or {})["prompts"])
    return StoredPrompts(prompts, tokens)
