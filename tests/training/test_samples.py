from dataclasses import replace

import pytest
import torch
from PIL import Image as pillow

from sdsr.data.batches import Sampling
from sdsr.data.photos import open_pairs, open_photos
from sdsr.methods import METHODS
from sdsr.training.samples import make_source, validation_samples

STAGE = replace(METHODS["d3sr-small"].stages[0], crop_px=64, batch=2)


@pytest.fixture
def photos(data):
    return open_photos(data)


def test_a_sample_is_a_function_of_the_step(photos):
    first, again = (make_source(photos, STAGE, Sampling(size_px=64, batch_size=2)) for _ in range(2))
    for step in (0, 5):
        one, two = first(step), again(step)
        assert one.lq is not None
        assert two.lq is not None
        assert torch.equal(one.hq, two.hq)
        assert torch.equal(one.lq, two.lq)
    assert not torch.equal(first(0).hq, first(1).hq)


def test_lq_is_there_where_the_stage_has_a_degradation(photos):
    sampling = Sampling(size_px=64, batch_size=2)
    degraded = make_source(photos, STAGE, sampling)(0)
    plain = make_source(photos, replace(STAGE, degradation=None), sampling)(0)
    assert degraded.lq is not None
    assert degraded.lq.shape == (2, 3, 16, 16)
    assert degraded.hq.shape == plain.hq.shape == (2, 3, 64, 64)
    assert plain.lq is None


def test_a_broken_validation_photo_is_passed_over(data, caplog):
    whole = validation_samples(open_photos(data), STAGE, crop_px=64, limit=48)
    (data[0] / "1.jpg").write_bytes(b"no photo")
    samples = validation_samples(open_photos(data), STAGE, crop_px=64, limit=48)
    assert [len(sample.hq) for sample in samples] == [4]
    assert torch.equal(samples[0].hq, whole[0].hq[[0, 2, 3, 4]])
    assert "passed over: 1 (" in caplog.text


def test_pairs_bring_their_own_lq(tmp_path):
    for side, size in (("lq", 16), ("hq", 64)):
        (tmp_path / side).mkdir()
        pillow.new("RGB", (size, size), (size, 0, 0)).save(tmp_path / side / "a.png")
    pairs = open_pairs(tmp_path / "lq", tmp_path / "hq")
    sample = make_source(pairs, STAGE, Sampling(size_px=32, batch_size=2))(0)
    assert sample.lq is not None
    assert sample.hq.shape == (2, 3, 32, 32)
    assert torch.equal(sample.lq[:, 0], torch.full((2, 8, 8), 16 / 255))


def test_validation_samples_are_the_middle_squares_of_the_first_photos(photos):
    samples = validation_samples(photos, STAGE, crop_px=64, limit=3, batch=2)
    assert [len(sample.hq) for sample in samples] == [2, 1]
    middle = photos[0][:, 8:72, 16:80].float() / 255
    assert torch.equal(samples[0].hq[0], middle)
    again = validation_samples(photos, STAGE, crop_px=64, limit=3, batch=2)
    assert samples[1].lq is not None
    assert again[1].lq is not None
    assert torch.equal(samples[1].lq, again[1].lq)


def test_a_photo_smaller_than_the_crop_is_continued_at_its_border(photos):
    (sample,) = validation_samples(photos, replace(STAGE, degradation=None), crop_px=104, limit=1)
    assert sample.hq.shape == (1, 3, 104, 104)
    assert torch.equal(sample.hq[0, :, 80:, :96], sample.hq[0, :, 79:80, :96].expand(-1, 24, -1))
