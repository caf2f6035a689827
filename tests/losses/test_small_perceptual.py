"""The small perceptual network: size, distance, smooth gradients, and that its lessons can be learned."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from sdsr.errors import ModelError
from sdsr.losses.severity import DEFECTS, SeverityHeads, severity_batch, small_perceptual_loss
from sdsr.losses.small_perceptual import SmallPerceptual, load_small_perceptual


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def textured(count: int, side: int, seed: int = 0) -> torch.Tensor:
    """Random colors and sums of random waves, so that blur, noise and blocks have something to spoil."""
    rng = generator(seed)
    y, x = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    frequency = 80 * torch.rand(count, 3, 6, 2, 1, 1, generator=rng) - 40
    phase = 6 * torch.rand(count, 3, 6, 1, 1, generator=rng)
    waves = torch.sin(frequency[:, :, :, 0] * x + frequency[:, :, :, 1] * y + phase)
    color = 0.2 + 0.6 * torch.rand(count, 3, 1, 1, generator=rng)
    return (color + 0.08 * waves.sum(dim=2)).clamp(0, 1)


def test_size_and_cost():
    network = SmallPerceptual()
    assert sum(parameter.numel() for parameter in network.parameters()) == 847_296
    with FlopCounterMode(display=False) as flops:
        features = network(torch.rand(1, 3, 128, 128))
    assert flops.get_total_flops() / 2 < 0.26e9
    assert [tuple(feature.shape[1:]) for feature in features] == [
        (16, 128, 128),
        (32, 64, 64),
        (64, 32, 32),
        (128, 16, 16),
        (192, 8, 8),
    ]


def test_distance_is_zero_for_equal_and_symmetric_and_frozen():
    torch.manual_seed(0)
    distance = SmallPerceptual().distance()
    x, y = torch.rand(2, 3, 37, 50), torch.rand(2, 3, 37, 50)
    torch.testing.assert_close(distance(x, x), torch.zeros(2))
    torch.testing.assert_close(distance(x, y), distance(y, x))
    assert (distance(x, y) > 0.01).all()
    assert not any(parameter.requires_grad for parameter in distance.parameters())
    assert not distance.train().training


def test_gradient_has_no_grid():
    """A constant picture compared with noise: the mean gradient must not depend on the position modulo 2, 4 or 8."""
    torch.manual_seed(1)
    distance = SmallPerceptual().distance()
    x = (0.5 + 0.1 * torch.randn(6, 3, 64, 64)).requires_grad_()
    distance(x, 0.5 + 0.1 * torch.randn(6, 3, 64, 64)).sum().backward()
    energy = x.grad.square().mean(dim=(0, 1))[8:-8, 8:-8]
    for period in (2, 4, 8):
        phases = energy.unflatten(0, (-1, period)).unflatten(2, (-1, period)).mean(dim=(0, 2))
        assert phases.max() / phases.min() < 1.5, period


def test_file_is_loaded_frozen_and_pinned_by_its_hash(tmp_path):
    torch.manual_seed(0)
    network, path = SmallPerceptual(), tmp_path / "small.safetensors"
    save_file(network.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    loaded = load_small_perceptual(path, digest)
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(loaded(image)[-1], network(image)[-1].detach(), rtol=0, atol=0)
    with pytest.raises(ModelError, match="must have sha256 0000"):
        load_small_perceptual(path, "0" * 64)
    save_file({"stages.0.0.weight": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="is missing"):
        load_small_perceptual(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="can't be read"):
        load_small_perceptual(path)
    with pytest.raises(ModelError, match="are missing"):
        load_small_perceptual(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("name", DEFECTS)
def test_defects_grow_with_severity(name):
    image = textured(2, 48)
    errors = [
        (DEFECTS[name](image, torch.full((2,), severity), generator()) - image).square().mean()
        for severity in (0.0, 0.3, 0.6, 1.0)
    ]
    assert 0 < errors[0] < errors[1] < errors[2] < errors[3]


def test_severity_batch_is_drawn_from_its_generator():
    hq = textured(6, 33)
    first, again, other = (severity_batch(hq, generator(seed)) for seed in (3, 3, 4))
    torch.testing.assert_close(first.versions, again.versions, rtol=0, atol=0)
    assert not torch.equal(first.versions, other.versions)
    assert first.versions.shape == (6, 3, 3, 33, 33)
    assert 0 <= first.versions.min() <= first.versions.max() <= 1
    assert ((first.versions - hq[:, None]).abs().amax(dim=(2, 3, 4)) > 0).all()
    assert ((first.shifted - hq).abs().amax(dim=(1, 2, 3)) > 0).all()


def test_a_few_steps_teach_each_lesson():
    torch.manual_seed(0)
    widths = (8, 8, 16, 16, 16)
    network, heads, rng, hq = SmallPerceptual(widths), SeverityHeads(widths), generator(), textured(8, 24)
    optimizer = torch.optim.Adam([*network.parameters(), *heads.parameters()], lr=2e-3)

    def examined() -> dict[str, float]:
        exams = [small_perceptual_loss(network, heads, hq, generator(100 + exam))[1] for exam in range(6)]
        return {name: sum(float(exam[name]) for exam in exams) / len(exams) for name in exams[0]}

    before = examined()
    for _ in range(30):
        loss, _ = small_perceptual_loss(network, heads, hq, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = examined()
    assert all(parameter.grad is not None for parameter in (*network.parameters(), *heads.parameters()))
    assert after["ranking"] < 0.85 * before["ranking"], (before, after)
    assert after["severity"] < 0.9 * before["severity"], (before, after)
    assert after["content"] < 0.63 * before["content"], (before, after)
    assert after["ordered"] > before["ordered"], (before, after)
