"""AddSR's discriminator: a head as recorded, the two networks at full size, what it shows them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sdsr.losses.adversarial import discriminator_hinge, generator_hinge, summed_hinge
from sdsr.losses.small_perceptual import SmallPerceptual
from sdsr.methods.addsr.discriminator import (
    Dino2Class,
    DinoTokens,
    ProjectedHead,
    SmallTokens,
    TokenDiscriminator,
    blank_dino_discriminator,
    cut_out,
    load_dino_discriminator,
    shifted,
)
from sdsr.methods.addsr.recipes import discriminator_of
from sdsr.prior.condition import Condition
from sdsr.prior.shapes import shape_prior
from sdsr.restoration.restorer import Parts, Restorer, from_photo

GOLDEN = Path(__file__).parents[2] / "golden" / "addsr_step"
VIT = {"hidden_size": 12, "num_hidden_layers": 12, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    return load_file(GOLDEN / "io.safetensors")


def head() -> ProjectedHead:
    module = ProjectedHead(32, 12, 16)
    module.load_state_dict(load_file(GOLDEN / "weights.safetensors"))
    return module


def test_a_head_as_published(recorded):
    evaluating, training = head().eval(), head().train()
    with torch.no_grad():
        logits = evaluating(recorded["head.features"], recorded["head.condition"])
        again = training(recorded["head.features"], recorded["head.condition"])
    torch.testing.assert_close(logits, recorded["head.logits_eval"], atol=1e-5, rtol=0)
    torch.testing.assert_close(again, recorded["head.logits_train_first_forward"], atol=1e-5, rtol=0)
    state = training.state_dict()
    for name, vector in recorded.items():
        if name.startswith("head.after_train_forward."):
            torch.testing.assert_close(state[name.removeprefix("head.after_train_forward.")], vector, atol=1e-5, rtol=0)


def test_both_sides_as_published(recorded):
    real, fake = [recorded["gan.pred_real"]], [recorded["gan.pred_fake"]]
    torch.testing.assert_close(summed_hinge(real, fake), recorded["gan.loss_D"][0], atol=1e-5, rtol=0)
    torch.testing.assert_close(generator_hinge(fake), recorded["gan.loss_G"][0], atol=1e-5, rtol=0)
    zeros = [torch.zeros(2, 3)]
    assert summed_hinge(zeros, zeros) == 2


def test_full_heads_have_the_published_size():
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in ProjectedHead(384, 384).parameters()) == 1_526_144


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """The two networks, narrow and random, as transformers saves them."""
    from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

    root = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    ViTModel(ViTConfig(**VIT, image_size=224, patch_size=16), add_pooling_layer=False).save_pretrained(root / "dino")
    Dinov2Model(Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)).save_pretrained(root / "two")
    return root / "dino", root / "two"


def test_the_full_discriminator_sees_five_levels_and_the_lq_photo(folders, photo, rng):
    discriminator = load_dino_discriminator(*folders, torch.device("cpu"))
    images = photo.expand(2, -1, -1, -1).clone().requires_grad_()
    logits = discriminator(images, photo.expand(2, -1, -1, -1), rng)
    assert [one.shape for one in logits] == [(2, 1, 196)] * 5
    sum(one.sum() for one in logits).backward()
    assert images.grad is not None
    assert images.grad.any()
    assert all(parameter.grad is not None for parameter in discriminator.parameters())
    assert not any("vit" in name or "embeddings" in name for name in discriminator.state_dict())


@torch.no_grad()
def test_dinos_tokens_are_taken_before_its_last_norm(folders, photo, rng):
    from transformers import ViTModel

    model = ViTModel.from_pretrained(folders[0], add_pooling_layer=False).eval()
    seen: dict[str, Tensor] = {}
    blocks = [module for name, module in model.named_modules() if name in ("layers.2", "layers.11")]
    for name, module in (("first", blocks[0]), ("last", blocks[1]), ("in", model.embeddings)):
        module.register_forward_hook(
            lambda _, __, out, name=name: seen.update({name: out[0] if isinstance(out, tuple) else out})
        )
    maps = DinoTokens(model)(photo, rng)
    for index, name in ((0, "in"), (1, "first"), (4, "last")):
        expected = (seen[name][:, 1:] + seen[name][:, :1]).transpose(1, 2)
        torch.testing.assert_close(maps[index], expected)


@torch.no_grad()
def test_the_condition_is_the_normed_class_token_of_plain_colors(folders, photo):
    from transformers import Dinov2Model

    model = Dinov2Model.from_pretrained(folders[1]).eval()
    shown = []
    model.register_forward_pre_hook(lambda _, args: shown.append(args[0]))
    token = Dino2Class(model)(photo)
    assert shown[0].shape[-2:] == (518, 518)
    assert shown[0].min() >= 0
    torch.testing.assert_close(token, model(shown[0]).pooler_output)


def test_the_small_discriminator_learns_to_tell(photo, rng):
    torch.manual_seed(0)
    tokens = SmallTokens(SmallPerceptual((8, 8, 16, 16, 16)).requires_grad_(False))
    discriminator = TokenDiscriminator(
        tokens, lambda lq: lq.mean((2, 3)), channels=tokens.channels, condition_width=3, width=8, augmented=False
    )
    real, lq = torch.cat([photo[..., :64, :64], photo[..., -64:, -64:]]), torch.rand(2, 3, 16, 16)
    fake = nn.functional.interpolate(nn.functional.avg_pool2d(real, 8), scale_factor=8)
    optimizer, losses = torch.optim.Adam(discriminator.parameters(), 1e-2), []
    for _ in range(40):
        loss = discriminator_hinge(discriminator(real, lq, rng), discriminator(fake, lq, rng))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_augmented_images_are_moved_and_cut(rng):
    image = torch.ones(8, 3, 32, 48)
    moved = shifted(image, rng)
    assert moved.shape == image.shape
    assert 0.8 < moved.mean() < 1
    assert len({tuple(one.sum(1).tolist()) for one in moved[:, 0]}) > 4
    cut = cut_out(image, rng)
    shares = cut.mean((1, 2, 3))
    assert shares.min() >= 0.75 - 0.02
    assert shares.max() <= 15 / 16 + 0.02
    assert torch.equal(shifted(image, rng, share=0.0), image)


def test_without_weights_it_has_the_published_sizes():
    """DINO's ViT-S/16 without its pooling, DINOv2's ViT-S/14, and five heads."""
    discriminator = blank_dino_discriminator()
    seeing, telling = (network.model for network in discriminator._frozen)
    sizes = [sum(map(torch.numel, network.parameters())) for network in (seeing, telling, discriminator)]
    assert sizes == [21_665_664, 22_056_576, 7_630_720]
    nothing = Parts(conditioner=lambda *_: lambda _: Condition(), start=from_photo, modules=nn.ModuleDict())
    judged = discriminator_of(Restorer(prior=shape_prior("sd-2-base", image_encoder=False), parts=nothing))
    assert sum(map(torch.numel, judged.parameters())) == 7_630_720
