"""A job: the one way from photo to picture, watched and given up."""

import hashlib
import threading
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sdsr import __version__
from sdsr.diffusion.steps import ancestral
from sdsr.errors import CancelledError
from sdsr.job import Credit, Job, Preview
from sdsr.methods import METHODS
from sdsr.photos.photo import Photo
from sdsr.request import Request
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import from_noise
from sdsr.restoration.sample import Sampled
from sdsr.upscaling import Upscaler

RECIPE = METHODS["d3sr-small"]
THREE_STEPS = Plan(times=(900, 500, 100), step=ancestral)
SMALL_WINDOWS = Request(scale=4, memory_bytes=20 * 64**2)


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    """Three ancestral steps from noise, so that the seed is felt and there is something to preview."""
    assert RECIPE.method is not None
    restorer = RECIPE.method.build("tiny")
    restorer = replace(restorer, parts=replace(restorer.parts, start=from_noise))
    return Upscaler(RECIPE.with_plan(THREE_STEPS), restorer)


@pytest.fixture(scope="module")
def photo() -> Photo:
    return Photo(pixels=np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))


def test_a_job_is_decided_before_it_runs(upscaler: Upscaler, photo: Photo) -> None:
    job = upscaler.job(photo, SMALL_WINDOWS)
    assert job.size == (80, 120)
    assert job.plan == THREE_STEPS
    assert len(job.windows) > 4
    assert job.progress.share == 0
    assert job.chosen is None


def test_a_job_makes_what_upscale_makes_also_when_it_is_run_again(upscaler: Upscaler, photo: Photo) -> None:
    heard: list[float] = []
    job = upscaler.job(photo, SMALL_WINDOWS, on_progress=heard.append)
    one, again, expected = job.run(), job.run(), upscaler.upscale(photo, SMALL_WINDOWS)
    assert np.array_equal(one.pixels, expected.pixels)
    assert np.array_equal(again.pixels, expected.pixels)
    assert one.traits == expected.traits
    half = len(heard) // 2
    assert heard[:half] == heard[half:] == sorted(heard[:half])
    assert heard[-1] == pytest.approx(1)


def test_a_run_can_be_watched_and_gives_what_was_shown(upscaler: Upscaler, photo: Photo) -> None:
    shown: list[Preview] = []
    times: list[tuple[int, int]] = []
    job = upscaler.job(photo)
    result = job.run(on_step=lambda index, sampled: times.append((index, sampled.t)), on_preview=shown.append)
    streamed = list(job.previews())
    assert times == [(0, 900), (1, 500), (2, 100)]
    assert [preview.final for preview in shown] == [preview.final for preview in streamed] == [False, False, True]
    for one, other in zip(shown, streamed, strict=True):
        assert (one.image == other.image).all()
        assert one.region == other.region
    last = shown[-1].image[0].detach().permute(1, 2, 0).clamp(0, 1).numpy()
    np.testing.assert_array_equal(result.pixels, np.rint(last * 255))
    assert 0 <= float(shown[0].image.min()) <= float(shown[0].image.max()) <= 1


def test_what_was_known_of_a_photo_is_given_up_before_its_result_comes(upscaler: Upscaler, photo: Photo) -> None:
    """Else its latents lie beside the result's pixels, which of a large photo counts."""
    known: list[weakref.ref[Any]] = []
    lying: list[bool] = []

    def see(index: int, sampled: Sampled) -> None:
        known.extend(weakref.ref(one.latent) for one in sampled.encoded)

    def show(preview: Preview) -> None:
        if preview.final:
            lying.append(any(one() is not None for one in known))

    upscaler.job(photo, SMALL_WINDOWS).run(on_step=see, on_preview=show)
    assert known
    assert lying
    assert not any(lying)


def test_another_plan_on_the_same_canvas(upscaler: Upscaler, photo: Photo) -> None:
    shorter = Plan(times=(900,), step=ancestral)
    job = upscaler.job(photo)
    once = replace(job, plan=shorter)
    (only,) = once.steps()
    first = next(iter(job.steps()))
    assert np.array_equal(once.pixels(only), job.pixels(first))
    assert np.array_equal(upscaler.job(photo, plan=shorter).run().pixels, once.pixels(only))
    assert once.pixels(only, np.uint16).dtype == np.uint16


def stopped(upscaler: Upscaler, photo: Photo, when: Any, **request: Any) -> tuple[Job, list[float]]:
    """A job that is cancelled once `when(share)`, and the shares that were heard."""
    heard: list[float] = []

    def hear(share: float) -> None:
        heard.append(share)
        if when(share):
            job.cancel()

    job = upscaler.job(photo, replace(SMALL_WINDOWS, **request), on_progress=hear)
    with pytest.raises(CancelledError, match="was cancelled"):
        job.run()
    return job, heard


@pytest.mark.parametrize("share", [0.0, 0.4, 0.7])
def test_a_cancelled_job_ends_with_the_window_at_work(upscaler: Upscaler, photo: Photo, share: float) -> None:
    _, heard = stopped(upscaler, photo, lambda now: now > share)
    assert heard[-1] > share
    assert all(earlier <= share for earlier in heard[:-1])


def test_a_cancelled_job_ends_with_the_tile_at_work(upscaler: Upscaler) -> None:
    wide = Photo(pixels=np.zeros((4, 300, 3), np.uint8))
    job, heard = stopped(upscaler, wide, lambda now: now > 0.85, scale=8)
    assert heard[-1] < 0.95
    assert job.size == (32, 2400)


def test_a_job_is_cancelled_from_another_thread_and_leaves_the_model_as_it_was(
    upscaler: Upscaler, photo: Photo
) -> None:
    before = upscaler.upscale(photo).pixels
    at_work = threading.Event()
    ended: list[BaseException] = []

    def work() -> None:
        try:
            job.run()
        except CancelledError as error:
            ended.append(error)

    job = upscaler.job(photo, SMALL_WINDOWS, on_progress=lambda share: at_work.set())
    worker = threading.Thread(target=work)
    worker.start()
    assert at_work.wait(timeout=60)
    job.cancel()
    worker.join(timeout=60)
    assert len(ended) == 1
    assert np.array_equal(upscaler.upscale(photo).pixels, before)


def test_a_job_cancelled_before_it_runs_does_nothing(upscaler: Upscaler, photo: Photo) -> None:
    heard: list[float] = []
    job = upscaler.job(photo, on_progress=heard.append)
    job.cancel()
    with pytest.raises(CancelledError):
        job.run()
    assert not heard


def settled(upscaler: Upscaler, photo: Photo, prompt: str | None = None) -> Job:
    """A job whose label has something to tell."""
    job = upscaler.job(photo, Request(width=64, height=48, seed=3, color_fix="adain"))
    return replace(
        job,
        request=replace(job.request, prompt=prompt),
        plan=Plan(times=(900, 500, 100), fidelity=0.75),
        credit=Credit(model="stablesr-small", weights_sha256="cd" * 32, own_decoder=True),
    )


STORED = np.arange(36, dtype=np.uint16).reshape(3, 4, 3) * 1000


def test_a_label_says_what_was_settled(upscaler: Upscaler) -> None:
    step = settled(upscaler, Photo(pixels=STORED, source_sha256="ab" * 32), "a cat").step()
    assert (step.software, step.version, step.model) == ("sdsr", __version__, "stablesr-small")
    assert step.facts == {
        "weightsSha256": "cd" * 32,
        "inputSha256": "ab" * 32,
        "width": "64",
        "height": "48",
        "seed": "3",
        "times": "900 500 100",
        "fidelity": "0.75",
        "colorFix": "adain",
        "prompt": "a cat",
    }


def test_a_label_of_a_mean_says_how_many_there_were(upscaler: Upscaler) -> None:
    assert settled(upscaler, Photo(pixels=STORED)).step(passes=4).facts["passes"] == "4"


def test_a_label_says_nothing_of_what_a_method_has_not(upscaler: Upscaler) -> None:
    job = replace(settled(upscaler, Photo(pixels=STORED)), credit=Credit(model="stablesr-small"))
    assert job.step().facts.keys() == {"inputPixelsSha256", "width", "height", "seed", "times", "colorFix"}


def test_a_picture_from_no_file_is_named_by_its_pixels_and_alpha(upscaler: Upscaler) -> None:
    alpha = np.arange(12, dtype=np.uint16).reshape(3, 4)
    own = STORED.astype("<u2").tobytes()

    def named(photo: Photo) -> str:
        return settled(upscaler, photo).step().facts["inputPixelsSha256"]

    assert named(Photo(pixels=STORED)) == hashlib.sha256(own).hexdigest()
    both = named(Photo(pixels=STORED, alpha=alpha))
    assert both == hashlib.sha256(own + alpha.astype("<u2").tobytes()).hexdigest()
    flipped = Photo(pixels=STORED[::-1, :, ::-1])
    assert named(flipped) != hashlib.sha256(own).hexdigest()
