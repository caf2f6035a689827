from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from sdsr.data.degradation import degradation
from sdsr.data.noise import add_gaussian, add_noise, add_poisson

GOLDEN = load_file(Path(__file__).parents[1] / "golden/realesrgan_kernels/io.safetensors")


class Replay(np.random.Generator):
    """Gives recorded noise instead of drawing it; keeps the rates that were asked for."""

    def __init__(self, noise: torch.Tensor) -> None:
        super().__init__(np.random.PCG64(0))
        self.noise = noise.numpy()
        self.rates = np.zeros(0)

    def standard_normal(self, size=None, dtype=np.float64, out=None):
        return self.noise.reshape(size).astype(dtype)

    def poisson(self, lam=1.0, size=None):
        self.rates = np.asarray(lam)
        return self.noise.reshape(self.rates.shape)


def test_gaussian_noise_is_the_published_one():
    for flag, published in ((1, "gauss.out_gray_flag_1_0"), (0, "gauss.out_gray_flag_0_0")):
        for index, gray in enumerate((bool(flag), False)):
            noise = GOLDEN["gauss.noise_gray"] if gray else GOLDEN["gauss.noise_color"][index]
            sigma = float(GOLDEN["gauss.sigma"][index])
            ours = add_gaussian(GOLDEN["image"][index : index + 1], sigma, gray=gray, rng=Replay(noise))
            torch.testing.assert_close(ours[0], GOLDEN[published][index], atol=1e-5, rtol=0)


def test_poisson_noise_is_the_published_one():
    for flag, published in ((1, "poisson.out_gray_flag_1_0"), (0, "poisson.out_gray_flag_0_0")):
        for index, gray in enumerate((bool(flag), False)):
            kind = "gray" if gray else "color"
            rng = Replay(GOLDEN[f"poisson.counts_{kind}"][index : index + 1])
            image = GOLDEN["image"][index : index + 1]
            ours = add_poisson(image, float(GOLDEN["poisson.scale"][index]), gray=gray, rng=rng)
            torch.testing.assert_close(ours[0], GOLDEN[published][index], atol=1e-5, rtol=0)
            plane = GOLDEN["poisson.gray_image"][index] if gray else image[0]
            rates = (plane * 255).round() / 255 * GOLDEN[f"poisson.vals_{kind}"][index]
            np.testing.assert_allclose(rng.rates[0], rates.numpy(), rtol=1e-5)


def test_noise_has_the_strength_and_the_share_of_gray_of_its_settings():
    noise = degradation("photo").first.noise
    image = torch.full((1, 3, 24, 24), 0.5)
    changes = [add_noise(image, noise, np.random.default_rng(seed)) - image for seed in range(300)]
    noisy = [change for change in changes if change.abs().max() > 0]
    assert abs(len(noisy) / len(changes) - noise.probability) < 0.1
    gray = sum(bool(torch.allclose(change[:, 0], change[:, 1], atol=1e-6)) for change in noisy)
    assert 0.18 <= gray / len(noisy) <= 0.42
