"""By its graphs, the default restores as by torch: whatever the size, the windows, the fidelity, the colors."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sdsr
from sdsr.errors import InputError
from sdsr.jobs import JobMaker
from sdsr.photos.files import Photo, read_photo
from sdsr.region import Region
from sdsr.request import Request

SAMPLE = Path(sdsr.__file__).parent / "assets" / "sample.jpg"
ORIGINAL = SAMPLE.with_name("sample_hq.jpg")
SMALL_WINDOWS = 100 * 128**2
"""Bytes that leave room for windows of 128 px."""


def difference(one: Photo, other: Photo) -> int:
    assert one.size == other.size
    return int(np.abs(one.pixels.astype(int) - other.pixels).max())


@pytest.mark.parametrize(
    "request_",
    [
        Request(scale=2),
        Request(scale=2, memory_bytes=SMALL_WINDOWS),
        Request(scale=1.7, fidelity=0, color_fix="wavelet"),
        Request(width=50, fidelity=1, color_fix="adain"),
        Request(scale=1, fidelity=0.7, color_fix="ycbcr", consistent=True),
    ],
    ids=["one window", "many windows", "detailed", "faithful", "consistent"],
)
def test_results_are_torchs_within_one_of_255(
    by_graphs: JobMaker, by_torch: JobMaker, photo: Photo, request_: Request
) -> None:
    job = by_graphs.job(photo, request_)
    assert (len(job.windows) > 1) == (request_.memory_bytes is not None)
    assert difference(job.run(), by_torch.job(photo, request_).run()) <= 1


def test_twenty_photos_are_torchs_within_one_of_255(by_graphs: JobMaker, by_torch: JobMaker) -> None:
    """Parts of a photo and of its sharp original, two in several windows; `bench/parity.py` has larger ones."""
    for index, photo in enumerate(parts(20)):
        many = index % 10 == 9
        request = Request(scale=3 if many else 0.5, memory_bytes=SMALL_WINDOWS if many else None)
        job = by_graphs.job(photo, request)
        assert (len(job.windows) > 1) == many
        assert difference(job.run(), by_torch.job(photo, request).run()) <= 1, index


def parts(count: int) -> Iterator[Photo]:
    """Yield parts of the sample photo and of its original, 12 x 48, from many places."""
    for index in range(count):
        pixels = read_photo(SAMPLE if index % 4 < 2 else ORIGINAL).pixels
        top, left = (index * (length - 48) // count for length in pixels.shape[:2])
        yield Photo(pixels=np.ascontiguousarray(pixels[top : top + 12, left : left + 48]))


def test_what_is_decided_is_the_same(by_graphs: JobMaker, by_torch: JobMaker, photo: Photo) -> None:
    one = by_graphs.job(photo)
    other = by_torch.job(photo)
    assert one.result_traits() == other.result_traits()
    for decided in ("plan", "windows", "color_fix", "adain_floor", "credit", "size"):
        assert getattr(one, decided) == getattr(other, decided), decided
    assert by_graphs.facts == by_torch.restorer.facts()  # whatever fidelity is asked for
    assert by_graphs.canvas == by_torch.canvas


def test_no_noise_is_drawn_and_both_say_so(by_graphs: JobMaker, by_torch: JobMaker, photo: Photo) -> None:
    for maker in (by_graphs, by_torch):
        one, other = (maker.job(photo, Request(scale=2, seed=seed)).run().pixels for seed in (1, 2))
        assert np.array_equal(one, other)
        assert not maker.heeds_seed(maker.plan(Request()))


def test_alpha_and_sixteen_bits_are_kept(by_graphs: JobMaker, photo: Photo) -> None:
    deep = Photo(pixels=photo.pixels.astype(np.uint16) * 257, alpha=np.full(photo.size, 40000, np.uint16))
    result = by_graphs.job(deep, Request(scale=1)).run()
    assert result.pixels.dtype == np.uint16
    assert result.alpha is not None
    assert set(result.alpha.flat) == {40000}
    assert np.unique(result.pixels).size > 256
    plain = by_graphs.job(photo, Request(scale=1)).run()
    assert np.abs(result.pixels / 257 - plain.pixels).max() <= 0.51


def test_a_crop_is_that_part_of_the_whole(by_graphs: JobMaker, photo: Photo) -> None:
    job = by_graphs.job(photo, Request(scale=2, memory_bytes=SMALL_WINDOWS))
    region = Region(top=8, left=70, height=30, width=40)
    whole = job.run().pixels[region.rows, region.columns]
    part = by_graphs.crop(job, region).run()
    assert np.abs(part.pixels.astype(int) - whole).max() <= 1


@pytest.mark.parametrize("color", [(128, 128, 128), (0, 255, 0), (0, 255, 255), (255, 0, 255)])
def test_flat_photos_stay_flat_to_their_corners(by_graphs: JobMaker, color: tuple[int, int, int]) -> None:
    """Without context around the photo, pure colors are up to 13 of 255 off."""
    flat = Photo(pixels=np.full((24, 32, 3), color, np.uint8))
    result = by_graphs.upscale(flat, Request(scale=4, label=False)).pixels.astype(int)
    assert np.abs(result - color).max() <= 4


def test_previews_and_progress_are_told(by_graphs: JobMaker, photo: Photo) -> None:
    shares: list[float] = []
    previews = list(by_graphs.job(photo, Request(scale=1), on_progress=shares.append).previews())
    assert [preview.final for preview in previews] == [True]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Request(steps=4), "must be 1"),
        (Request(start=200), "start"),
        (Request(fidelity=2), "0 ... 1"),
        (Request(prompt="a cat"), "prompt"),
    ],
)
def test_what_one_step_cannot_do_is_refused(by_graphs: JobMaker, photo: Photo, wish: Request, said: str) -> None:
    with pytest.raises(InputError, match=said):
        by_graphs.job(photo, wish)


def test_another_time_is_not_the_graphs(by_graphs: JobMaker, photo: Photo) -> None:
    job = by_graphs.job(photo, Request(scale=1))
    with pytest.raises(AssertionError, match="exported for t = "):
        replace(job, plan=replace(job.plan, times=(499,))).run()
