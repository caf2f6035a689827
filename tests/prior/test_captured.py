"""Calls that are recorded for each shape: which are, what replays them, and that results stay what they are."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from sdsr.diffusion.noise import CanvasNoise
from sdsr.methods import METHODS
from sdsr.prior.captured import Call, Captured, GraphRecorder
from sdsr.prior.condition import Condition
from sdsr.prior.loading import load_prior
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.placing import move
from sdsr.restoration.restorer import Restorer
from sdsr.restoration.sample import sample


@dataclass
class Tape:
    """Records like a graph: it computes in buffers of its own, and again where it is replayed."""

    recorded: list[list[torch.Size]] = field(default_factory=list)
    replayed: int = 0
    error: RuntimeError | None = None

    def __call__(self, call: Call, tensors: Sequence[Tensor]) -> Call:
        if self.error is not None:
            raise self.error
        self.recorded.append([tensor.shape for tensor in tensors])
        buffers = [torch.full_like(tensor, float("nan")) for tensor in tensors]

        def replay(given: Sequence[Tensor]) -> object:
            self.replayed += 1
            for buffer, tensor in zip(buffers, given, strict=True):
                buffer.copy_(tensor)
            return call(buffers)

        return replay


def double(x: Tensor) -> Tensor:
    return 2 * x


@torch.no_grad()
def test_a_shape_is_recorded_once_it_comes_again():
    tape = Tape()
    captured = Captured(tape, eager_calls=2)
    for number in range(5):
        assert captured(double, torch.full((3,), float(number))).tolist() == [2.0 * number] * 3
    assert tape.recorded == [[torch.Size([3])]]
    assert tape.replayed == 3
    captured(double, torch.ones(4))
    captured(double, torch.ones(3, dtype=torch.float64))
    assert captured.count == 1


@torch.no_grad()
def test_all_that_a_result_depends_on_tells_calls_apart():
    captured = Captured(Tape(), eager_calls=0)
    x = torch.ones(2, 3)
    calls = [(double, x), (torch.neg, x), (double, torch.ones(3, 2).mT), (torch.mul, x, 3.0), (torch.mul, x, 4.0)]
    results = [captured(*call) for call in calls for _ in range(2)]
    assert [float(result.flatten()[0]) for result in results] == [2, 2, -1, -1, 2, 2, 3, 3, 4, 4]
    assert captured.count == len(calls)
    with torch.autocast("cpu", torch.bfloat16):
        captured(double, x)
    assert captured.count == len(calls) + 1


def test_gradients_are_never_recorded():
    captured = Captured(Tape(), eager_calls=0)
    x = torch.ones(2, requires_grad=True)
    captured(double, x).sum().backward()
    assert x.grad is not None
    assert captured.count == 0


@torch.no_grad()
def test_few_shapes_are_kept_the_latest_used():
    tape = Tape()
    captured = Captured(tape, most=2, eager_calls=0)
    for size in (1, 2, 1, 3, 1):
        captured(double, torch.ones(size))
    assert captured.count == 2
    assert [sizes[0][0] for sizes in tape.recorded] == [1, 2, 3]
    captured.forget()
    assert captured.count == 0


@torch.no_grad()
def test_what_cannot_be_recorded_goes_on_as_it_is_and_says_so(caplog):
    tape = Tape(error=RuntimeError("operation not permitted when stream is capturing\nmore"))
    captured = Captured(tape, eager_calls=0)
    with caplog.at_level(logging.WARNING):
        assert [float(captured(double, torch.ones(1))) for _ in range(3)] == [2, 2, 2]
    assert [record.message for record in caplog.records] == [
        "A network's call can't be recorded (operation not permitted when stream is capturing); "
        "it is launched kernel by kernel."
    ]


@torch.no_grad()
def test_where_memory_runs_out_all_that_was_recorded_goes(caplog):
    tape = Tape()
    captured = Captured(tape, eager_calls=0)
    captured(double, torch.ones(1))
    tape.error = torch.OutOfMemoryError("of 80 GiB, 0 are free")
    with caplog.at_level(logging.WARNING):
        assert captured(double, torch.ones(2)).tolist() == [2, 2]
    assert captured.count == 0
    assert "Memory ran out" in caplog.text


@torch.no_grad()
def test_all_ports_of_a_condition_are_inputs():
    prior = load_prior("tiny")
    tape = Tape()
    captured = Captured(tape, eager_calls=0)
    noisy = torch.randn(1, prior.channels, 8, 8)
    time = torch.tensor([99.0])
    for prompt in ("", "clean"):
        condition = Condition(prompt=prior.embed(prompt))
        plain = prior.backbone.predict(noisy, time, condition)
        torch.testing.assert_close(captured(prior.backbone.predict, noisy, time, condition), plain)
    assert tape.recorded == [[noisy.shape, time.shape, condition.prompt.shape]]


@pytest.mark.parametrize("name", ["d3sr", "d3sr-small", "consissr-small", "stablesr-small"])
def test_a_restoration_is_the_same_replayed(name, photo):
    restorer = METHODS[name].restoring.build("tiny")
    tape = Tape()
    recording = with_captured(restorer, Captured(tape, eager_calls=0, most=100))
    size = photo.shape[-2] * 4, photo.shape[-1] * 4
    lq_image = LqImage.of(photo, size, restorer.prior.multiple_px)
    plain, replayed = (restored(name, each, lq_image) for each in (restorer, recording))
    torch.testing.assert_close(replayed, plain)
    shapes = [sizes[0][1:] for sizes in tape.recorded]
    assert torch.Size([3, *size]) in shapes  # encoded
    assert tape.replayed >= 2  # and denoised; where a method has no decoder of its own, decoded
    assert name != "d3sr" or tape.replayed == 3


def test_a_copy_records_anew():
    captured = Captured(Tape(), eager_calls=0)
    with torch.no_grad():
        captured(double, torch.ones(1))
    assert copy.deepcopy(captured).count == 0


def test_a_processor_records_nothing():
    restorer = METHODS["d3sr-small"].restoring.build("tiny")
    assert move(with_captured(restorer, Captured(Tape())), "cpu").prior.captured is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
@pytest.mark.parametrize("name", ["d3sr", "consissr-small", "invsr-small"])
def test_a_card_replays_what_it_computes(name, photo):
    restorer = METHODS[name].restoring.build("tiny", "cuda")
    captured = Captured(GraphRecorder(), eager_calls=0)
    size = photo.shape[-2] * 4, photo.shape[-1] * 4
    lq_image = LqImage.of(photo, size, restorer.prior.multiple_px)
    plain = restored(name, restorer, lq_image)
    for _ in range(3):
        replayed = restored(name, with_captured(restorer, captured), lq_image)
        torch.testing.assert_close(replayed, plain, atol=1e-4, rtol=1e-4)
    assert captured.count >= 2


def with_captured(restorer: Restorer, captured: Captured) -> Restorer:
    return replace(restorer, prior=replace(restorer.prior, captured=captured))


@torch.inference_mode()
def restored(name: str, restorer: Restorer, lq_image: LqImage) -> Tensor:
    plan = METHODS[name].plan
    assert plan is not None
    plan = replace(plan, times=plan.times[:2])
    sampled = sample(restorer, lq_image, plan, CanvasNoise(seeds=(0,)))
    return restorer.decode(sampled.clean, lq_image, fidelity=plan.fidelity)
