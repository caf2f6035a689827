from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from sdsr.data import noise
from sdsr.data.degradation import degradation
from sdsr.data.noise import add_gaussian, add_noise, add_poisson

GOLDEN = load_file(Path(__file__).parents[1] / "golden/realesrgan_kernels/io.safetensors")


RNG = np.random.default_rng(0)


def test_gaussian_noise_is_the_published_one(monkeypatch):
    for flag, published in ((1, "gauss.out_gray_flag_1_0"), (0, "gauss.out_gray_flag_0_0")):
        for index, gray in enumerate((bool(flag), False)):
            recorded = GOLDEN["gauss.noise_gray"] if gray else GOLDEN["gauss.noise_color"][index]
            monkeypatch.setattr(
                noise, "unit_noise", lambda shape, rng, recorded=recorded: recorded.reshape(shape).clone()
            )
            sigma = float(GOLDEN["gauss.sigma"][index])
            ours = add_gaussian(GOLDEN["image"][index : index + 1], sigma, gray=gray, rng=RNG)
            torch.testing.assert_close(ours[0], GOLDEN[published][index], atol=1e-5, rtol=0)


def test_poisson_noise_is_the_published_one(monkeypatch):
    rates = []

    def replay(levels, full, rng):
        rates.append(levels / 255 * full)
        return (counts.reshape(levels.shape) / full - levels / 255).astype(np.float32)

    monkeypatch.setattr(noise, "photon_noise", replay)
    for flag, published in ((1, "poisson.out_gray_flag_1_0"), (0, "poisson.out_gray_flag_0_0")):
        for index, gray in enumerate((bool(flag), False)):
            kind = "gray" if gray else "color"
            counts = GOLDEN[f"poisson.counts_{kind}"][index].numpy()
            image = GOLDEN["image"][index : index + 1]
            ours = add_poisson(image, float(GOLDEN["poisson.scale"][index]), gray=gray, rng=RNG)
            torch.testing.assert_close(ours[0], GOLDEN[published][index], atol=1e-5, rtol=0)
            plane = GOLDEN["poisson.gray_image"][index] if gray else image[0]
            expected = (plane * 255).round() / 255 * GOLDEN[f"poisson.vals_{kind}"][index]
            np.testing.assert_allclose(rates[-1][0], expected.numpy(), rtol=1e-5)


def test_gaussian_noise_is_normal_and_follows_from_its_generator():
    first, again, other = (noise.unit_noise((1, 3, 100, 100), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert abs(float(first.mean())) < 0.03
    assert abs(float(first.std()) - 1) < 0.02
    assert 0.93 < float((first.abs() < 1.96).float().mean()) < 0.97


def test_black_has_no_photons_and_one_level_is_counted_once():
    """A flat photo has one level, so its counts are 0, 1, 2 ... at a rate of its brightness."""
    rng = np.random.default_rng(0)
    black = torch.zeros(1, 3, 32, 32)
    assert torch.equal(add_poisson(black, 3.0, gray=False, rng=rng), black)
    flat = torch.full((1, 3, 64, 64), 0.4)
    counts = (add_poisson(flat, 0.1, gray=False, rng=rng) - flat) * 10 + 0.4
    torch.testing.assert_close(counts, counts.round(), atol=1e-4, rtol=0)
    assert abs(float(counts.mean()) - 0.4) < 0.02
    assert abs(float(counts.var()) - 0.4) < 0.03


def test_noise_has_the_strength_and_the_share_of_gray_of_its_settings():
    settings = degradation("photo").first.noise
    image = torch.full((1, 3, 24, 24), 0.5)
    changes = [add_noise(image, settings, np.random.default_rng(seed)) - image for seed in range(300)]
    noisy = [change for change in changes if change.abs().max() > 0]
    assert abs(len(noisy) / len(changes) - settings.probability) < 0.1
    gray = sum(bool(torch.allclose(change[:, 0], change[:, 1], atol=1e-6)) for change in noisy)
    assert 0.18 <= gray / len(noisy) <= 0.42
