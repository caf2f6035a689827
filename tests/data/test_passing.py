"""One photo that can't be used doesn't end a run: it is named once and passed over, up to a limit."""

import contextlib
import io
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as pillow

from sdsr.data.batches import Crops, PairedCrops, Sampling
from sdsr.data.passing import Passing
from sdsr.data.photos import decode, open_pairs, open_photos
from sdsr.errors import InputError

SAMPLING = Sampling(size_px=16, batch_size=4)


def photo(index: int, size: int = 32) -> pillow.Image:
    return pillow.fromarray(np.full((size, size, 3), index, np.uint8))


def encoded(image: pillow.Image, format: str = "PNG") -> bytes:
    stored = io.BytesIO()
    image.save(stored, format)
    return stored.getvalue()


BROKEN = {
    "empty": b"",
    "text": b"not a photo",
    "cut off": encoded(photo(1), "JPEG")[:400],
    "32 bits": encoded(pillow.fromarray(np.full((32, 32), 40000, np.int32)), "TIFF"),
    "floats above 1": encoded(pillow.fromarray(np.full((32, 32), 40.5, np.float32)), "TIFF"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_photo_is_named_once_and_the_next_one_taken(kind: str, tmp_path: Path, caplog) -> None:
    for index in range(5):
        photo(index).save(tmp_path / f"{index}.png")
    (tmp_path / "2.png").write_bytes(BROKEN[kind])
    crops = Crops(open_photos(tmp_path), SAMPLING)
    keys = [key for step in range(5) for key in crops.batch(step).keys]
    assert [record.getMessage() for record in caplog.records if "passed over: 2 (" in record.getMessage()] != []
    assert len(caplog.records) == 1
    assert set(keys) == {"0", "1", "3", "4"}
    resumed = Crops(open_photos(tmp_path), SAMPLING)
    assert torch.equal(resumed.batch(3).hq, crops.batch(3).hq)


def test_a_photo_that_vanishes_is_passed_over_too(tmp_path: Path, caplog) -> None:
    for index in range(4):
        photo(index).save(tmp_path / f"{index}.png")
    crops = Crops(open_photos(tmp_path), SAMPLING)
    (tmp_path / "1.png").unlink()
    assert "1" not in {key for step in range(3) for key in crops.batch(step).keys}
    assert "1.png can't be read" in caplog.text


def test_more_than_a_tenth_end_the_run_and_the_message_says_which(tmp_path: Path) -> None:
    for index in range(30):
        photo(index).save(tmp_path / f"{index:02}.png")
    for index in (3, 7, 11):
        (tmp_path / f"{index:02}.png").write_bytes(b"")
    crops = Crops(open_photos(tmp_path), SAMPLING)
    for step in range(8):
        crops.batch(step)
    (tmp_path / "20.png").write_bytes(b"")
    crops = Crops(open_photos(tmp_path), SAMPLING)
    with pytest.raises(InputError, match=r"can't be used \(=4\) must be at most 3 of 30; mend or remove .*\.png"):
        [crops.batch(step) for step in range(8)]


def test_of_none_that_can_be_used_the_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(BROKEN["32 bits"])
    with pytest.raises(InputError, match=r"none of the photos \(=1\) can be used: a .* channels of 32 bits"):
        Crops(open_photos(tmp_path), SAMPLING).batch(0)


def test_pairs_that_do_not_match_or_are_too_small_are_passed_over(tmp_path: Path, caplog) -> None:
    for side in ("lq", "hq"):
        (tmp_path / side).mkdir()
    for index in range(20):
        photo(index, 8).save(tmp_path / "lq" / f"{index:02}.png")
        photo(index, 32).save(tmp_path / "hq" / f"{index:02}.png")
    photo(5, 40).save(tmp_path / "hq" / "05.png")
    photo(6, 2).save(tmp_path / "lq" / "06.png")
    photo(6, 8).save(tmp_path / "hq" / "06.png")
    crops = PairedCrops(open_pairs(tmp_path / "lq", tmp_path / "hq"), SAMPLING)
    keys = {key for step in range(5) for key in crops.batch(step).keys}
    assert keys == {f"{index:02}" for index in range(20)} - {"05", "06"}
    assert "pair 05: HQ (=40x40) must be 4 times" in caplog.text
    assert "pair 06 is smaller than size_px (=16)" in caplog.text


def test_two_threads_name_a_photo_once(caplog) -> None:
    caplog.set_level(logging.WARNING)
    passing, error = Passing(10), InputError("broken")
    passing._note(3, error)
    passing._note(3, InputError("broken"))
    assert len(caplog.records) == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    format=st.sampled_from(["PNG", "JPEG", "TIFF", "WEBP"]),
    cut=st.integers(0, 400),
    places=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
)
def test_bytes_of_any_kind_are_pixels_or_an_input_error(format, cut, places) -> None:
    content = bytearray(encoded(photo(90), format))
    for place, value in places:
        content[place % len(content)] = value
    content = bytes(content[: len(content) - cut] if cut < len(content) else b"")
    with contextlib.suppress(InputError):
        assert decode(content, name="x").dtype == torch.uint8
