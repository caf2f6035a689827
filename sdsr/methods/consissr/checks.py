"""What ConsisSR's (arXiv:2410.13807) published checkpoint must be asked before anything is assumed of it.

The published training code leaves doubt on what it trained: it starts two layers in series at zero, runs half the UNet
without gradients, and may leave image projections random. Each check is one such question. `state` has the published
names, `converted` ours. Tensors are read one pair at a time, so that a mapped file is never in memory as a whole.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from sdsr.checkpoints.converted import Converted, Finding

UNET = "model.diffusion_model."
IMAGE_PROMPT = "ft_layers_4"

_MLP = re.compile(r"cond_stage_model\.(ft_layers\w*)\.1\.weight")
_ADDED = (".position_emb", ".attnT.to_out.0.weight", ".attnT.to_out.0.bias", ".to_out_ip.0.weight", ".to_out_ip.0.bias")
_ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How many pairs of tensors are equal, and the largest difference in any; infinite where shapes or names differ."""

    equal: int
    total: int
    largest: float

    @property
    def holds(self) -> bool | None:
        return self.equal == self.total if self.total else None

    def __str__(self) -> str:
        if not self.total:
            return _ABSENT
        return f"{self.equal} of {self.total} equal, largest difference {self.largest:.3g}"


def examine(
    state: Mapping[str, Tensor], converted: Converted, *, prior: Path | None = None, image_encoder: Path | None = None
) -> tuple[Finding, ...]:
    """Return all findings; without the folders of the prior and of OpenCLIP's image encoder, some can't be told."""
    return (
        image_projections_are_copies(state),
        image_branch_is_alive(state),
        unet_encoder_is_untrained(state),
        condition_encoder_is_a_copy(state),
        image_encoder_is_tuned(converted, image_encoder),
        text_encoder_is_the_priors(converted, prior),
        unet_is_the_priors(converted, prior),
        control_text_attention_is_the_priors(converted, prior),
        image_prompt_is_known(state),
    )


def image_projections_are_copies(state: Mapping[str, Tensor]) -> Finding:
    names = [name for name in state if name.endswith(("attn2.to_k_ip.weight", "attn2.to_v_ip.weight"))]
    compared = compare((state[name], state.get(name.replace("_ip.", "."))) for name in names)
    return _finding(
        "image keys and values go through copies of the text's",
        compared.holds,
        compared,
        yes="the prior's own projections would do as well",
        no="the file's own projections must be kept",
    )


def image_branch_is_alive(state: Mapping[str, Tensor]) -> Finding:
    gains = {
        "to_out_ip": _largest(state, lambda name: name.endswith("attn2.to_out_ip.0.weight")),
        f"{IMAGE_PROMPT}.6": _largest(state, lambda name: name == f"cond_stage_model.{IMAGE_PROMPT}.6.weight"),
    }
    known = [gain for gain in gains.values() if gain is not None]
    return _finding(
        "the image branch is alive",
        all(known) if len(known) == len(gains) else None,
        ", ".join(f"max|{name}| {_figure(gain)}" for name, gain in gains.items()),
        yes="the photo's token reaches the picture",
        no="the photo's token is lost: of the image branch only a constant bias is left",
    )


def unet_encoder_is_untrained(state: Mapping[str, Tensor]) -> Finding:
    places = (f"{UNET}input_blocks.", f"{UNET}middle_block.")
    gain = _largest(state, lambda name: name.startswith(places) and name.endswith(_ADDED))
    return _finding(
        "what is added to the UNet's encoder learned nothing",
        None if gain is None else gain == 0,
        f"max {_figure(gain)}",
        yes="it ran without gradients; only the decoder's blocks differ from the prior",
        no="the file was trained with gradients in the encoder too",
    )


def condition_encoder_is_a_copy(state: Mapping[str, Tensor]) -> Finding:
    ours = {name: tensor for name, tensor in state.items() if name.startswith("cond_encoder.")}
    compared = compare(
        (tensor, state.get(name.replace("cond_encoder.", "first_stage_model.", 1))) for name, tensor in ours.items()
    )
    return _finding(
        "the photo is encoded by the autoencoder's own encoder",
        compared.holds,
        compared,
        yes="one encoder serves both",
        no="the photo needs an encoder of its own",
    )


def image_encoder_is_tuned(converted: Converted, folder: Path | None) -> Finding:
    compared = compare(_with_files(converted.parts.get("image_encoder", {}), folder))
    return _finding(
        "the image encoder was tuned (RCLIP)",
        None if compared.holds is None else not compared.holds,
        compared,
        yes="it must be kept",
        no="it is OpenCLIP's: the first stage was not used",
    )


def text_encoder_is_the_priors(converted: Converted, prior: Path | None) -> Finding:
    compared = compare(_with_files(converted.parts.get("text", {}), prior and prior / "text_encoder"))
    return _finding("the text encoder is the prior's", compared.holds, compared, yes=_SAME, no=_OTHER)


def unet_is_the_priors(converted: Converted, prior: Path | None) -> Finding:
    compared = compare(_with_files(converted.parts.get("unet", {}), prior and prior / "unet"))
    return _finding("the UNet's own weights are the prior's", compared.holds, compared, yes=_SAME, no=_OTHER)


def control_text_attention_is_the_priors(converted: Converted, prior: Path | None) -> Finding:
    frozen = {
        name: tensor
        for name, tensor in converted.parts.get("controlnet", {}).items()
        if ".transformer_blocks." in name and (".attn2." in name or ".norm2." in name)
    }
    compared = compare(_with_files(frozen, prior and prior / "unet"))
    return _finding(
        "the ControlNet's cross-attention is the prior's",
        compared.holds,
        compared,
        yes="it stayed frozen, as published",
        no="it was trained, or began from another prior",
    )


def image_prompt_is_known(state: Mapping[str, Tensor]) -> Finding:
    found = {match[1]: tensor for name, tensor in state.items() if (match := _MLP.fullmatch(name))}
    following = ((name, state.get(f"cond_stage_model.{name}.4.weight")) for name in found)
    tokens = {name: None if after is None else found[name].shape[0] / after.shape[1] for name, after in following}
    return _finding(
        "the photo is told as one token",
        tokens == {IMAGE_PROMPT: 1} if found else None,
        ", ".join(f"{name}: {_figure(count)} tokens" for name, count in tokens.items()) or _ABSENT,
        yes="the image prompt is the published one",
        no="this is another variant of the image prompt, which sdsr does not have",
    )


_SAME = "it need not be stored"
_OTHER = "this checkpoint stands on another prior, or it changed this part"


def compare(pairs: Iterable[tuple[Tensor, Tensor | None]]) -> Comparison:
    """Compare tensors with others, in the precision of the first; None or another shape is a difference."""
    equal = 0
    total = 0
    largest = 0.0
    for ours, theirs in pairs:
        total += 1
        if theirs is None or theirs.shape != ours.shape:
            largest = float("inf")
        elif torch.equal(ours, theirs := theirs.to(ours.dtype)):
            equal += 1
        elif ours.numel():
            largest = max(largest, (ours.float() - theirs.float()).abs().max().item())
    return Comparison(equal=equal, total=total, largest=largest)


def _with_files(ours: Mapping[str, Tensor], folder: Path | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Pair tensors with those of the same name in the weight files of a folder; nothing without a folder."""
    found = sorted(folder.glob("*.safetensors")) if folder else []
    waiting = dict(ours)
    for path in [path for path in found if ".fp16" not in path.name] or found:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  (it is no dict)
                if (tensor := waiting.pop(name.removeprefix("text_model."), None)) is not None:
                    yield tensor, file.get_tensor(name)
    if found:
        yield from ((tensor, None) for tensor in waiting.values())


def _largest(state: Mapping[str, Tensor], wanted: Callable[[str], bool]) -> float | None:
    """The largest magnitude in the wanted tensors; None where there are none."""
    return max((tensor.abs().max().item() for name, tensor in state.items() if wanted(name)), default=None)


def _figure(value: float | None) -> str:
    return _ABSENT if value is None else f"{value:.3g}"


def _finding(name: str, holds: bool | None, figure: object, *, yes: str, no: str) -> Finding:
    meaning = "can't be told: nothing to look at, or nothing to compare with"
    if holds is not None:
        meaning = yes if holds else no
    return Finding(name=name, holds=holds, figure=str(figure), meaning=meaning)
