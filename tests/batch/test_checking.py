"""A result that can't be right is refused, tried again in float32, and then a failure by name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sdsr import job
from sdsr.batch.checking import check_result
from sdsr.batch.desk import Batch
from sdsr.batch.engine import process
from sdsr.batch.model import Model
from sdsr.batch.outcome import Outcome
from sdsr.batch.settings import Settings
from sdsr.batch.walking import Naming, plan
from sdsr.errors import ResultError
from sdsr.photos.photo import Photo
from sdsr.upscaling import Request, Upscaler
from tests.batch.loaded import model_of


def noise(height: int, width: int, dtype: type = np.uint8) -> np.ndarray:
    top = int(np.iinfo(dtype).max) // 2
    return np.random.default_rng(0).integers(0, top, (height, width, 3), dtype=dtype)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (40, 64), (200, 130)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_near_its_photo_passes(size: tuple[int, int], dtype: type) -> None:
    photo = Photo(pixels=noise(*size, dtype))
    for scale in (1, 2, 3):
        result = photo.pixels.repeat(scale, 0).repeat(scale, 1)[: max(1, size[0] * scale - 1)]
        check_result(photo, Photo(pixels=result))


@pytest.mark.parametrize("width", [1, 5, 12, 23, 135])
def test_a_photo_made_small_passes_and_another_does_not(width: int) -> None:
    photo = Photo(pixels=np.zeros((2, 4000, 3), np.uint8))
    photo.pixels[:, 2000:] = 255
    share = (2 * np.arange(width) + 1 > width) * 0.5 + (2 * np.arange(width) + 1 >= width) * 0.5
    small = np.broadcast_to((255 * share).astype(np.uint8)[None, :, None], (1, width, 3)).copy()
    check_result(photo, Photo(pixels=small))
    with pytest.raises(ResultError, match="mean color is off"):
        check_result(photo, Photo(pixels=np.zeros_like(small)))


def test_what_is_not_finite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = Photo(pixels=noise(8, 8))
    monkeypatch.setattr("sdsr.batch.checking._mean", lambda pixels: np.full(3, np.nan))
    with pytest.raises(ResultError, match=r"mean color is off the photo's \(=nan"):
        check_result(photo, photo)


def test_what_is_black_tinted_or_black_in_a_part_is_refused() -> None:
    photo = Photo(pixels=np.full((64, 96, 3), 120, np.uint8))
    black, tinted, part = (photo.pixels.repeat(2, 0).repeat(2, 1) for _ in range(3))
    black[:] = 0
    tinted[..., 0] += 60
    part[:32, -32:] = 0
    for pixels, says in ((black, "mean color"), (tinted, "mean color"), (part, "color of a part")):
        with pytest.raises(ResultError, match=f"{says} is off the photo's"):
            check_result(photo, Photo(pixels=pixels))


def test_a_wrong_result_is_made_again_in_float32_or_not_at_all(
    tree: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = job.Job.run
    wrong = [2, 2]  # how many runs overflow, for the first photo and for the second

    def run(self: job.Job) -> Photo:
        result = own(self)
        wrong[0] -= 1
        return result if wrong[0] < 0 else replace(result, pixels=np.full_like(result.pixels, 255))

    monkeypatch.setattr(job.Job, "run", run)
    settings = Settings(request=Request(scale=2.0))
    tasks = plan([tree / "a.png", tree / "sub" / "b.png"], Naming(request=settings.request), output=tree.parent / "out")
    model = model_of(upscaler)

    def outcomes(model: Model) -> list[Outcome]:
        return list(process(Batch(tasks=tasks, model=model, settings=settings)))

    first, second = outcomes(model)
    assert (first.status, first.kind, second.kind) == ("failed", "result", "result")
    assert not (tree.parent / "out" / "a.png").exists()
    wrong[0] = 1
    first, second = outcomes(replace(model, load=lambda: replace(model.load(), load_float32=model.load)))
    assert (first.status, second.status) == ("done", "done")
    assert first.chosen is None
