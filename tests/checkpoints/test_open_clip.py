"""OpenCLIP's towers: a tower written in its names and read back gives the same outputs; full-size names and shapes."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from sdsr.checkpoints.open_clip import text_tower, vision_tower

SMALL_VISION = CLIPVisionConfig(
    hidden_size=24,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=2,
    image_size=28,
    patch_size=7,
    projection_dim=16,
    hidden_act="gelu",
)
SMALL_TEXT = CLIPTextConfig(
    vocab_size=50,
    hidden_size=24,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=7,
    hidden_act="gelu",
)


def under(shapes: Mapping[str, torch.Size], prefix: str) -> dict[str, Tensor]:
    """The tensors of the published ConsisSR under a prefix, in shape only."""
    inside = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    return {name: torch.empty(shape, device="meta") for name, shape in inside.items()}


def blocks_as_open_clip(state: Mapping[str, Tensor], encoder: str, depth: int) -> dict[str, Tensor]:
    """The inverse of what is tested: transformers' blocks in OpenCLIP's names."""
    theirs = {}
    for index in range(depth):
        own, block = f"{encoder}.layers.{index}", f"transformer.resblocks.{index}"
        for kind in ("weight", "bias"):
            joint = [state[f"{own}.self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
            theirs[f"{block}.attn.in_proj_{kind}"] = torch.cat(joint)
            theirs[f"{block}.attn.out_proj.{kind}"] = state[f"{own}.self_attn.out_proj.{kind}"]
            theirs[f"{block}.ln_1.{kind}"] = state[f"{own}.layer_norm1.{kind}"]
            theirs[f"{block}.ln_2.{kind}"] = state[f"{own}.layer_norm2.{kind}"]
            theirs[f"{block}.mlp.c_fc.{kind}"] = state[f"{own}.mlp.fc1.{kind}"]
            theirs[f"{block}.mlp.c_proj.{kind}"] = state[f"{own}.mlp.fc2.{kind}"]
    return theirs


def vision_as_open_clip(state: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    embeddings = "vision_model.embeddings"
    return {
        "class_embedding": state[f"{embeddings}.class_embedding"],
        "positional_embedding": state[f"{embeddings}.position_embedding.weight"],
        "conv1.weight": state[f"{embeddings}.patch_embedding.weight"],
        "ln_pre.weight": state["vision_model.pre_layrnorm.weight"],
        "ln_pre.bias": state["vision_model.pre_layrnorm.bias"],
        "ln_post.weight": state["vision_model.post_layernorm.weight"],
        "ln_post.bias": state["vision_model.post_layernorm.bias"],
        "proj": state["visual_projection.weight"].T.contiguous(),
        **blocks_as_open_clip(state, "vision_model.encoder", depth),
    }


def randomised(model: torch.nn.Module) -> dict[str, Tensor]:
    """Give every tensor of a model its own values, biases too, so that a mix-up can't go unseen."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.state_dict()


def test_the_image_tower_computes_the_same_after_the_round_trip() -> None:
    model = CLIPVisionModelWithProjection(SMALL_VISION).eval()
    converted = vision_tower(vision_as_open_clip(randomised(model), 3))
    assert (converted.dropped, converted.unknown, converted.missing) == ((), (), ())
    again = CLIPVisionModelWithProjection(SMALL_VISION).eval()
    again.load_state_dict(converted.parts["image_encoder"])
    photo = torch.rand(2, 3, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(again(photo).image_embeds, model(photo).image_embeds, rtol=0, atol=0)


def test_the_text_tower_computes_the_same_without_the_last_block() -> None:
    model = CLIPTextModel(SMALL_TEXT).eval()
    state = randomised(model)
    theirs = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "text_projection": torch.rand(24, 24),
        "logit_scale": torch.tensor(1.0),
        **blocks_as_open_clip(state, "encoder", 2),
    }
    unused = {name.replace(".1.", ".2."): torch.rand_like(t) for name, t in theirs.items() if ".resblocks.1." in name}
    converted = text_tower({**theirs, **unused})
    assert (converted.unknown, converted.missing) == ((), ())
    assert set(converted.dropped) == {"text_projection", "logit_scale", *unused}
    again = CLIPTextModel(SMALL_TEXT).eval()
    again.load_state_dict(converted.parts["text"])
    ids = torch.tensor([[1, 5, 9, 2, 0, 0, 0]])
    with torch.no_grad():
        expected = model(ids).last_hidden_state
        torch.testing.assert_close(again(ids).last_hidden_state, expected, rtol=0, atol=0)


def test_the_published_image_tower_fits_vit_h(consissr_shapes: dict[str, torch.Size]) -> None:
    state = under(consissr_shapes, "cond_stage_model.model.visual.")
    config = CLIPVisionConfig(
        hidden_size=1280,
        intermediate_size=5120,
        num_hidden_layers=32,
        num_attention_heads=16,
        patch_size=14,
        projection_dim=1024,
    )
    with torch.device("meta"):
        own = CLIPVisionModelWithProjection(config).state_dict()
    converted = vision_tower(state)
    assert (len(state), len(own)) == (392, 520)
    assert (converted.dropped, converted.unknown, converted.missing) == ((), (), ())
    assert {k: v.shape for k, v in converted.parts["image_encoder"].items()} == {k: v.shape for k, v in own.items()}


def test_the_published_text_tower_fits_that_of_stable_diffusion_2(consissr_shapes: dict[str, torch.Size]) -> None:
    state = under(consissr_shapes, "cond_stage_model.model.")
    state = {name: tensor for name, tensor in state.items() if not name.startswith("visual.")}
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16
    )
    with torch.device("meta"):
        own = CLIPTextModel(config).state_dict()
    converted = text_tower(state)
    assert (len(state), len(converted.dropped)) == (294, 14)
    assert (converted.unknown, converted.missing) == ((), ())
    assert {k: v.shape for k, v in converted.parts["text"].items()} == {k: v.shape for k, v in own.items()}


@pytest.mark.parametrize("name", ["transformer.resblocks.1.attn.in_proj_weight", "proj", "ln_pre.bias"])
def test_what_is_missing_and_what_is_unknown_is_named(name: str) -> None:
    state = vision_as_open_clip(CLIPVisionModelWithProjection(SMALL_VISION).state_dict(), 3)
    surprise = state.pop(name)
    converted = vision_tower({**state, "surprise": surprise})
    assert converted.missing == (name,)
    assert converted.unknown == ("surprise",)
