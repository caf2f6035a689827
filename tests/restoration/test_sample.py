from dataclasses import dataclass, field
from functools import partial

import pytest
import torch

from sdsr.diffusion.noise import CanvasNoise
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.diffusion.steps import ancestral, deterministic, renoise
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Picture
from sdsr.restoration.sample import sample, trajectory
from sdsr.tensors import Image, Latent, Region

NOISE = CanvasNoise(seeds=(3,))
CANVAS = Region.whole(8, 12)
TIMES = (900, 500, 100)


@dataclass(frozen=True, slots=True)
class Halving:
    """A restorer whose clean estimate is half of what it was shown; it notes the times it is asked for."""

    schedule: NoiseSchedule = field(default_factory=NoiseSchedule.scaled_linear)
    channels: int = 4
    factor: int = 8
    tile_px: int = 1024
    asked: list[tuple] = field(default_factory=list)

    def in_tiles(self, tile_px: int) -> "Halving":
        raise AssertionError("sampling makes no pixels")

    def encode_lq(self, lq_image: LqImage, prompt: str | None, noise: CanvasNoise) -> str:
        return f"seen {prompt}"

    def start(self, encoded: str, t: int, noise: CanvasNoise) -> Latent:
        self.asked.append(("start", t))
        return noise.at("start", 0, CANVAS, self.channels)

    def denoise(self, noisy: Latent, t: int, encoded: str, guidance: float = 1.0) -> Latent:
        self.asked.append((t, guidance, encoded))
        return noisy / 2

    def decode(self, clean: Latent, canvas: LqImage, region: Region | None = None, fidelity: float = 0.0) -> Image:
        raise AssertionError("sampling decodes nothing")

    def decode_plainly(self, clean: Latent, region: Region | None = None) -> Image:
        raise AssertionError("without refinement nothing is looked at")

    def refresh(self, encoded: str, picture: Picture) -> str:
        raise AssertionError("without refinement nothing is refreshed")


@pytest.fixture
def lq_image() -> LqImage:
    return LqImage.of(torch.rand(1, 3, 16, 24), (64, 96), 16)


def test_the_plan_is_walked_once_from_its_start(lq_image):
    fake = Halving()
    steps = list(trajectory(fake, lq_image, Plan(times=TIMES, start=999, guidance=2.0), NOISE, prompt="p"))
    assert fake.asked == [("start", 999), *((t, 2.0, "seen p") for t in TIMES)]
    assert [(step.t, step.last) for step in steps] == [(900, False), (500, False), (100, True)]
    assert {step.encoded for step in steps} == {"seen p"}


@pytest.mark.parametrize("step", [ancestral, renoise, deterministic, partial(ancestral, variance="fixed_large")])
def test_each_step_gets_its_own_noise_of_the_canvas(lq_image, step):
    """The loop, written out."""
    fake, states = Halving(), []
    noisy = NOISE.at("start", 0, CANVAS, 4)
    for index, (t, to) in enumerate([(900, 500), (500, 100)]):
        states.append(noisy / 2)
        noisy = step(fake.schedule, noisy, noisy / 2, t, to, NOISE.at("step", index, CANVAS, 4))
    states.append(noisy / 2)
    visited = [one.clean for one in trajectory(fake, lq_image, Plan(times=TIMES, step=step), NOISE)]
    for mine, theirs in zip(visited, states, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert torch.equal(sample(fake, lq_image, Plan(times=TIMES, step=step), NOISE).clean, visited[-1])


def test_a_step_that_needs_no_noise_draws_none(lq_image, monkeypatch):
    drawn = []
    at = CanvasNoise.at
    monkeypatch.setattr(CanvasNoise, "at", lambda self, *args: drawn.append(args[0]) or at(self, *args))
    sample(Halving(), lq_image, Plan(times=TIMES, step=deterministic), NOISE)
    assert drawn == ["start"]
    sample(Halving(), lq_image, Plan(times=TIMES, step=renoise), NOISE)
    assert drawn == ["start", "start", "step", "step"]
