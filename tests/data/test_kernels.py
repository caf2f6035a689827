import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sdsr.data import kernels
from sdsr.data.degradation import degradation

GOLDEN = load_file(Path(__file__).parents[1] / "golden/realesrgan_kernels/io.safetensors")
BUILDERS = {
    "iso": lambda n, x, y, t, b: kernels.gaussian_kernel(n, x, x, 0.0),
    "aniso": lambda n, x, y, t, b: kernels.gaussian_kernel(n, x, y, t),
    "generalized_iso": lambda n, x, y, t, b: kernels.gaussian_kernel(n, x, x, 0.0, b),
    "generalized_aniso": lambda n, x, y, t, b: kernels.gaussian_kernel(n, x, y, t, b),
    "plateau_iso": lambda n, x, y, t, b: kernels.plateau_kernel(n, x, x, 0.0, b),
    "plateau_aniso": lambda n, x, y, t, b: kernels.plateau_kernel(n, x, y, t, b),
}


class Replay(np.random.Generator):
    """Gives recorded uniform draws, and checks that the ranges asked for are the recorded ones."""

    def __init__(self, draws: torch.Tensor) -> None:
        super().__init__(np.random.PCG64(0))
        self.draws = [tuple(row) for row in draws.double().tolist()]

    def uniform(self, low=0.0, high=1.0, size=None):
        expected_low, expected_high, value = self.draws.pop(0)
        assert (low, high) == pytest.approx((expected_low, expected_high), abs=1e-6)
        return value


@pytest.mark.parametrize("kind", kernels.KINDS)
@pytest.mark.parametrize("row", range(5))
def test_kernel_of_each_kind_is_the_published_one(kind, row):
    size, *parameters = GOLDEN["kernel_params_ksize_sigx_sigy_theta_beta"][row].tolist()
    ours = BUILDERS[kind](int(size), *parameters)
    torch.testing.assert_close(ours[0], GOLDEN[f"kernel{row}.{kind}"], atol=1e-6, rtol=0)
    assert ours.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("row", range(6))
def test_sinc_is_the_published_one(row):
    cutoff, size, padded = GOLDEN["sinc_params_cutoff_ksize_padto"][row].tolist()
    border = max(int(padded) - int(size), 0) // 2
    ours = torch.nn.functional.pad(kernels.sinc_kernel(int(size), cutoff), (border,) * 4)
    torch.testing.assert_close(ours[0], GOLDEN[f"sinc{row}"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", kernels.KINDS)
def test_mixed_kernel_draws_as_published(kind):
    blur = degradation("realesrgan").first.blur
    rng = Replay(GOLDEN[f"mixed.{kind}.uniform_draws_low_high_value"])
    ours = kernels.mixed_kernel(kind, 21, blur, rng)
    torch.testing.assert_close(ours[0], GOLDEN[f"mixed.{kind}.kernel"], atol=1e-6, rtol=0)
    assert not rng.draws


def test_random_kernels_have_the_sizes_and_the_share_of_sinc_of_their_settings():
    blur = degradation("invsr").second.blur
    rng = np.random.default_rng(0)
    drawn = [kernels.random_kernel(blur, rng) for _ in range(400)]
    assert {kernel.shape[-1] for kernel in drawn} == {3, 5, 7, 9, 11, 13}
    # of these kinds only a sinc has negative values
    assert 20 <= sum(bool((kernel < 0).any()) for kernel in drawn) <= 60


def test_an_index_is_drawn_as_numpy_chooses():
    chances = degradation("realesrgan").first.blur.kinds
    ours, numpys = np.random.default_rng(5), np.random.default_rng(5)
    drawn = [kernels.drawn_index(chances, ours) for _ in range(500)]
    assert drawn == [numpys.choice(len(chances), p=chances) for _ in range(500)]
    assert {kernels.drawn_index((0.0, 1.0, 0.0), ours) for _ in range(50)} == {1}


def test_sinc_passes_what_is_below_its_cutoff_and_stops_what_is_above():
    kernel = kernels.sinc_kernel(101, math.pi / 2)[0]
    response = torch.fft.fft2(kernel, s=(256, 256)).abs()
    assert response[0, 32] == pytest.approx(1, abs=0.1)
    assert response[0, 96] < 0.1


@pytest.mark.parametrize(("size", "lowest"), [(11, math.pi / 3), (13, math.pi / 5)])
def test_large_sinc_kernels_may_stop_lower_frequencies(size, lowest):
    blur = replace(degradation("realesrgan").first.blur, sizes=(size,), sinc=1.0)
    rng = Replay(torch.tensor([[lowest, math.pi, 2.0]]))
    expected = kernels.sinc_kernel(size, 2.0)
    torch.testing.assert_close(kernels.random_kernel(blur, rng), expected)
