"""ConsisSR's image prompt against recorded tensors, and how it begins."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from sdsr.adapters.image_prompt import ImagePrompt
from sdsr.prior.stable_diffusion import ClipImage

GOLDEN = Path(__file__).parents[1] / "golden" / "consissr_image_prompt"
RECORDED = load_file(GOLDEN / "io.safetensors")


class Tower:
    """In CLIP's place: takes the prepared image and gives the recorded embedding."""

    config = SimpleNamespace(image_size=224)

    def __init__(self) -> None:
        self.seen: Tensor = torch.empty(0)

    def __call__(self, image: Tensor) -> Any:
        self.seen = image
        return SimpleNamespace(image_embeds=RECORDED["image_feature"])


def test_photo_to_token_as_published():
    tower, prompt = Tower(), ImagePrompt(32, 32)
    weights = load_file(GOLDEN / "weights.safetensors")
    prompt.load_state_dict({name.replace("ft_layers_4", "layers"): tensor.float() for name, tensor in weights.items()})
    encoder: Any = ClipImage
    token = prompt(encoder(tower)((RECORDED["lq_image"] + 1) / 2))
    torch.testing.assert_close(tower.seen[..., ::7, ::7], RECORDED["clip_input_stride7"], rtol=0, atol=2e-5)
    torch.testing.assert_close(token, RECORDED["image_token"], rtol=0, atol=2e-5)


def test_published_size():
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in ImagePrompt(1024, 1024).parameters()) == 3_150_848


def test_its_token_is_zero_at_first_only_on_demand(rng: torch.Generator):
    embedding = torch.randn(2, 6, generator=rng)
    assert ImagePrompt(6, 8)(embedding).shape == (2, 1, 8)
    assert ImagePrompt(6, 8)(embedding).abs().max() > 1e-3
    assert not ImagePrompt(6, 8, zero=True)(embedding).any()
