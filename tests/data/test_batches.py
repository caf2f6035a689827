import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as pillow
from torch.nn import functional

from sdsr.data.batches import Crops, PairedCrops, Sampling, make_pairs, prefetch
from sdsr.data.degradation import degradation, degrade
from sdsr.data.photos import PairSet, PhotoSet, open_pairs, open_photos
from sdsr.errors import InputError


def gradient(index: int, height: int, width: int) -> np.ndarray:
    """Red tells the photo, green the row, blue the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack((np.full_like(rows, index * 10), rows, columns), axis=-1).astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> PhotoSet:
    for index, size in enumerate(((40, 60), (33, 33), (64, 32), (80, 50), (48, 90))):
        pillow.fromarray(gradient(index, *size)).save(tmp_path / f"{index}.png")
    return open_photos(tmp_path)


@pytest.fixture
def pairs(tmp_path: Path) -> PairSet:
    for side, scale in (("lq", 1), ("hq", 4)):
        (tmp_path / side).mkdir()
        for index in range(3):
            low = gradient(index, 12, 20)
            pillow.fromarray(low.repeat(scale, 0).repeat(scale, 1)).save(tmp_path / side / f"{index}.png")
    return open_pairs(tmp_path / "lq", tmp_path / "hq")


def test_crops_are_cut_from_their_photos(photos):
    sampling = Sampling(size_px=32, batch_size=5, horizontal_flip=0.0)
    corners = set()
    for step in range(6):
        batch = Crops(photos, sampling).batch(step)
        assert batch.hq.shape == (5, 3, 32, 32)
        for crop, key in zip(batch.hq * 255, batch.keys, strict=True):
            assert crop[0].unique().tolist() == pytest.approx([int(key) * 10])
            top, left = round(crop[1, 0, 0].item()), round(crop[2, 0, 0].item())
            whole = photos[int(key)]
            torch.testing.assert_close(crop.round().byte(), whole[:, top : top + 32, left : left + 32])
            corners.add((top, left))
    assert len(corners) > 15


def test_each_epoch_sees_every_photo_once_in_another_order(photos):
    crops = Crops(photos, Sampling(size_px=8, batch_size=5))
    epochs = [crops.batch(step).keys for step in range(6)]
    assert all(sorted(epoch) == ["0", "1", "2", "3", "4"] for epoch in epochs)
    assert len(set(epochs)) > 3


def test_batch_is_a_function_of_the_step(photos):
    sampling = Sampling(size_px=16, batch_size=3, seed=7, vertical_flip=0.5)
    straight = [Crops(photos, sampling).batch(step) for step in range(8)]
    resumed = Crops(photos, sampling)
    for step in (5, 2, 7):
        batch = resumed.batch(step)
        assert torch.equal(batch.hq, straight[step].hq)
        assert (batch.seeds, batch.keys) == (straight[step].seeds, straight[step].keys)
    assert len({seed for batch in straight for seed in batch.seeds}) == 24
    assert Crops(photos, replace(sampling, seed=8)).batch(0).seeds != straight[0].seeds


def test_processes_share_the_samples_of_one(photos):
    whole = Sampling(size_px=16, batch_size=6)
    for step in range(3):
        shares = [
            Crops(photos, Sampling(size_px=16, batch_size=2, rank=rank, world_size=3)).batch(step) for rank in range(3)
        ]
        batch = Crops(photos, whole).batch(step)
        assert torch.equal(torch.cat([share.hq for share in shares]), batch.hq)
        assert sum((share.seeds for share in shares), ()) == batch.seeds


def test_flips(photos):
    def corners(**flips: float):
        crops = Crops(photos, Sampling(size_px=16, batch_size=40, **flips))
        hq = crops.batch(0).hq
        return (hq[:, 2, 0, 0] > hq[:, 2, 0, -1]).sum(), (hq[:, 1, 0, 0] > hq[:, 1, -1, 0]).sum()

    assert corners(horizontal_flip=0.0) == (0, 0)
    assert corners(horizontal_flip=1.0, vertical_flip=1.0) == (40, 40)
    sideways, upside_down = corners()
    assert 10 <= sideways <= 30
    assert upside_down == 0


def test_small_photos_are_enlarged_to_the_crop(photos):
    batch = Crops(photos, Sampling(size_px=128, batch_size=5, horizontal_flip=0.0)).batch(0)
    assert batch.hq.shape == (5, 3, 128, 128)
    for crop, key in zip(batch.hq * 255, batch.keys, strict=True):
        shortest = min(photos[int(key)].shape[1:])
        assert (crop[1, -1, 0] - crop[1, 0, 0]).item() == pytest.approx(shortest * 127 / 128, abs=2)


def test_pairs_are_degraded_with_the_seeds_of_the_batch(photos):
    batch = Crops(photos, Sampling(size_px=32, batch_size=3)).batch(0)
    made = make_pairs(batch, degradation("photo"))
    assert torch.equal(made.hq, batch.hq)
    assert torch.equal(made.lq, degrade(batch.hq, degradation("photo"), batch.seeds))
    assert (made.keys, made.seeds) == (batch.keys, batch.seeds)
    sharp = make_pairs(replace(batch, hq=torch.rand(3, 3, 32, 32)), degradation("stablesr"))
    assert sharp.hq.std() > 0.3  # of uniform noise: 0.29
    assert torch.equal(sharp.lq, degrade(sharp.hq, degradation("stablesr"), batch.seeds))


def test_paired_crops_are_aligned(pairs):
    sampling = Sampling(size_px=32, batch_size=6, vertical_flip=0.5)
    for step in range(3):
        batch = PairedCrops(pairs, sampling).batch(step)
        assert (batch.lq.shape, batch.hq.shape) == ((6, 3, 8, 8), (6, 3, 32, 32))
        torch.testing.assert_close(functional.interpolate(batch.lq, scale_factor=4.0, mode="nearest"), batch.hq)
    again = PairedCrops(pairs, sampling).batch(2)
    assert torch.equal(again.hq, batch.hq)


def test_paired_crops_refuse_what_does_not_fit(pairs):
    with pytest.raises(InputError, match="multiple of the scale 4"):
        PairedCrops(pairs, Sampling(size_px=30, batch_size=1))
    with pytest.raises(InputError, match=r"smaller than size_px \(=64\)"):
        PairedCrops(pairs, Sampling(size_px=64, batch_size=1)).batch(0)


def test_prefetch_keeps_order_and_works_ahead():
    made = []

    def make(step: int) -> int:
        time.sleep(0.002 * (step % 3))
        made.append(step)
        return step * step

    results = prefetch(make, range(100), depth=3, workers=2)
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
    results.close()
    time.sleep(0.02)
    assert 5 <= len(made) <= 9
    assert list(prefetch(make, range(4), depth=9)) == [0, 1, 4, 9]
    assert list(prefetch(make, ())) == []


def test_prefetch_runs_beside_the_caller_and_passes_errors_on():
    def make(step: int) -> str:
        if step == 2:
            raise InputError("step (=2) is bad")
        return threading.current_thread().name

    results = prefetch(make, range(5))
    assert next(results).startswith("prefetch")
    next(results)
    with pytest.raises(InputError, match="bad"):
        next(results)
    with pytest.raises(InputError, match=r"depth \(=0\)"):
        next(prefetch(make, range(5), depth=0))
