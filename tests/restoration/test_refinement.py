"""Self-refinement: AddSR's published loop as recorded, and windows that see the picture as the whole canvas has it."""

import weakref
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from sdsr.adapters.tagger import MEAN, STD
from sdsr.diffusion.noise import CanvasNoise
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.diffusion.steps import renoise
from sdsr.diffusion.times import trailing
from sdsr.methods import METHODS
from sdsr.methods.photo_conditioner import PhotoConditioner
from sdsr.prior.condition import Condition
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.plan import Plan, Refinement
from sdsr.restoration.restorer import EncodedLq, Picture, PromptedCondition, Restorer, from_noised_photo
from sdsr.restoration.sample import sample, trajectory
from sdsr.restoration.windowed import Windowed
from sdsr.tensors import Image, Latent, Region

GOLDEN = Path(__file__).parents[1] / "golden" / "addsr_step"
SCALE = 0.18215
NOISE = CanvasNoise(seeds=(5,))


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    return load_file(GOLDEN / "io.safetensors")


@dataclass(frozen=True, slots=True)
class Toys:
    """The networks of the recording behind the four verbs; it notes what it sees."""

    latent: Latent
    control: list[Image] = field(default_factory=list)
    told: list[Tensor] = field(default_factory=list)
    inputs: list[Latent] = field(default_factory=list)
    schedule: NoiseSchedule = field(default_factory=NoiseSchedule.scaled_linear)
    channels: int = 4
    factor: int = 8
    tile_px: int = 1024

    def in_tiles(self, tile_px: int) -> "Toys":
        return self

    def encode_lq(self, lq_image: LqImage, prompt: str | None, noise: CanvasNoise) -> EncodedLq:
        self.control.append(lq_image.enlarged())
        self.told.append(torch.full((1, 1, 3), 0.25))
        return EncodedLq(lq_image=lq_image, latent=self.latent, condition=Condition(prompt=self.told[-1]))

    def start(self, encoded: EncodedLq, t: int, noise: CanvasNoise) -> Latent:
        return from_noised_photo(self.schedule, encoded, t, partial(noise.at, "start", 0, Region.whole(8, 8), 4))

    def denoise(self, noisy: Latent, t: int, encoded: EncodedLq, guidance: float = 1.0) -> Latent:
        self.inputs.append(noisy)
        predicted = 0.3 * noisy + 0.1 * self.control[-1].mean() + 0.05 * self.told[-1].mean()
        return self.schedule.clean(predicted, noisy, t)

    def decode(self, clean: Latent, canvas: LqImage, region: Region | None = None, fidelity: float = 0.0) -> Image:
        raise AssertionError("sampling paints no result")

    def decode_plainly(self, clean: Latent, region: Region | None = None) -> Image:
        assert region is not None
        decoded = 0.2 * F.interpolate(clean[:, :3] / SCALE, scale_factor=8) + 0.1
        return ((decoded + 1) / 2)[region.slices]

    def refresh(self, encoded: EncodedLq, picture: Picture) -> EncodedLq:
        self.control.append(picture(encoded.lq_image.region))
        squashed = F.interpolate(self.control[-1], (384, 384), mode="bicubic")
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        self.told.append(((squashed - mean) / std).mean((2, 3))[:, None])
        return encoded


@pytest.mark.parametrize("weight", [0.4, 0.5])
def test_the_published_loop(recorded, weight, monkeypatch):
    of = {key.removeprefix("infer."): value for key, value in recorded.items() if key.startswith("infer.")}
    rows = {key.partition(".")[2]: value for key, value in of.items() if key.startswith(f"psr0p{10 * weight:.0f}.")}
    draws = {"start": of["start_noise"], **{f"step{index}": one[None] for index, one in enumerate(of["renoise"])}}
    monkeypatch.setattr(
        CanvasNoise, "at", lambda self, purpose, step, *_: draws[purpose + (str(step) if purpose == "step" else "")]
    )
    toys = Toys(of["z_lr_scaled"])
    lq_image = LqImage.of(of["lr_image"], (64, 64), 8)
    plan = Plan(times=trailing(4), step=renoise, refinement=Refinement(weight=weight))
    steps = list(trajectory(toys, lq_image, plan, NOISE))
    assert [step.t for step in steps] == rows["timesteps"].tolist()
    for mine, theirs in (
        (toys.inputs, rows["unet_input"]),
        ([step.clean for step in steps], rows["z0"]),
        (toys.told, rows["image_context"]),
        ([steps[-1].clean], rows["final_latent"]),
        (toys.control, rows.get("controlnet_condition", torch.cat(toys.control))),
    ):
        torch.testing.assert_close(torch.cat(mine), theirs, atol=5e-4, rtol=0)


@pytest.fixture
def telling(restorer) -> Restorer:
    """A restorer whose condition is the picture that was looked at."""

    def look(prior, lq_image, latent) -> PromptedCondition:
        return lambda prompt: Condition(prompt=lq_image.enlarged().flatten(2))

    return replace(restorer, parts=replace(restorer.parts, conditioner=look))


def picture_of(image: Image) -> Picture:
    return lambda region: image[region.slices]


def test_what_is_refreshed_is_the_evidence_alone(telling, given):
    lq_image = LqImage.of(given, (108, 152), 16)
    encoded = telling.encode_lq(lq_image, "clean", NOISE)
    image = torch.rand(1, 3, 112, 160, generator=torch.Generator().manual_seed(0))
    again = telling.refresh(encoded, picture_of(image))
    torch.testing.assert_close(again.condition.prompt.view(1, 3, 112, 160), image, atol=1e-6, rtol=0)
    assert again.lq_image is lq_image
    assert again.latent is encoded.latent
    assert again.prompt == "clean"


def test_each_window_sees_its_part_of_the_mixture(telling, given, monkeypatch):
    """With an estimate that all windows agree on, they see what one window over everything sees."""
    monkeypatch.setattr(Restorer, "denoise", lambda self, noisy, t, encoded, guidance=1.0: noisy / 2)
    lq_image, plan = LqImage.of(given, (108, 152), 16), Plan(times=(999, 499), refinement=Refinement())
    whole = sample(telling, lq_image, plan, NOISE)
    mixture = whole.encoded.condition.prompt.view(1, 3, 112, 160)
    assert (mixture - lq_image.enlarged()).abs().mean() > 0.01
    parts = sample(Windowed(restorer=telling, window_px=64, overlap_px=16), lq_image, plan, NOISE)
    assert len(parts.encoded) > 4
    for one in parts.encoded:
        encoded = one.condition.prompt.view(1, 3, 64, 64)
        torch.testing.assert_close(encoded, mixture[one.lq_image.region.slices], atol=1e-4, rtol=0)


def test_the_weight_leads_from_the_photo_to_the_result():
    lq, restored = torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 1.5)
    for weight in (0.0, 0.4, 1.0):
        assert torch.equal(Refinement(weight=weight).blend(restored, lq), torch.full_like(lq, weight))


def test_a_photo_is_looked_at_once_for_all_windows_before_the_first_step(given):
    """So that encoders, where weights come to a card in turn, come once."""
    method = METHODS["addsr-small"].method
    assert method is not None
    built = method.build("tiny")
    conditioner = built.parts.conditioner
    assert isinstance(conditioner, PhotoConditioner)
    asked: list[tuple[int, ...]] = []

    def tokens_of(image: Image) -> Tensor:
        assert conditioner.tokens_of is not None
        asked.append(tuple(image.shape))
        return conditioner.tokens_of(image)

    parts = replace(built.parts, conditioner=replace(conditioner, tokens_of=tokens_of))
    restorer = Windowed(restorer=replace(built, parts=parts), window_px=64, overlap_px=16)
    with torch.inference_mode():
        encoded = restorer.encode_lq(LqImage.of(given, (112, 160), 16), None, NOISE)
        assert len(asked) == len(encoded) > 4
        for _ in range(2):
            restorer.denoise(torch.zeros(1, restorer.channels, 14, 20), 499, encoded)
    assert len(asked) == len(encoded)


def test_parts_of_the_mixture_are_there_one_at_a_time(given):
    """However large a photo is: a part is asked for when the step comes to it, and gone when the step has seen it."""
    method = METHODS["addsr-small"].method
    assert method is not None
    restorer = Windowed(restorer=method.build("tiny"), window_px=64, overlap_px=16)
    lq_image = LqImage.of(given, (112, 160), 16)
    shown: list[weakref.ref[torch.Tensor]] = []

    def picture(region: Region) -> Image:
        assert not any(one() is not None for one in shown)
        image = torch.rand(1, 3, region.height, region.width)
        shown.append(weakref.ref(image))
        return image

    with torch.inference_mode():
        encoded = restorer.refresh(restorer.encode_lq(lq_image, None, NOISE), picture)
        assert not shown
        restorer.denoise(torch.zeros(1, restorer.channels, 14, 20), 499, encoded)
    assert len(shown) == len(encoded) > 4
    assert not any(one() is not None for one in shown)
