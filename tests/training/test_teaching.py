"""Making pairs with a teacher: the same whenever it was stopped, and never mixed with those of another making."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdsr.data.photos import open_photos
from sdsr.data.taught import Teaching, open_taught
from sdsr.errors import InputError, ModelError
from sdsr.losses.real_esrgan import RealEsrgan, load_real_esrgan
from sdsr.training.teaching import make_taught_pairs

TEACHING = Teaching(pairs=40, crop_px=64, degradation="photo", seed=3)


@pytest.fixture
def teacher(tmp_path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "teacher.safetensors"
    save_file(RealEsrgan(width=4, growth=2, blocks=1).state_dict(), path)
    return path


def make(data, teacher: Path, folder: Path, teaching: Teaching = TEACHING) -> None:
    make_taught_pairs(open_photos([data[0]]), teaching, teacher, folder, torch.float32)


def test_pairs_are_the_teacher_s_answers(data, teacher, tmp_path):
    make(data, teacher, tmp_path / "pairs")
    pairs = open_taught([tmp_path / "pairs"])
    assert len(pairs) == 64  # whole shards
    batch = pairs.batch([5])
    assert batch.lq.shape == (1, 3, 16, 16)
    answer = load_real_esrgan(teacher)(batch.lq)
    assert (answer - batch.teacher).abs().max() < 0.6 / 255 + 1e-5


def test_a_lost_shard_is_made_again_as_it_was(data, teacher, tmp_path):
    folder = tmp_path / "pairs"
    make(data, teacher, folder)
    lost = folder / "00001.safetensors"
    kept, untouched = load_file(lost), (folder / "00000.safetensors").stat().st_mtime_ns
    lost.unlink()
    make(data, teacher, folder)
    assert (folder / "00000.safetensors").stat().st_mtime_ns == untouched
    assert all(torch.equal(tensor, kept[name]) for name, tensor in load_file(lost).items() if name != "teacher")
    assert (load_file(lost)["teacher"].int() - kept["teacher"].int()).abs().max() <= 1


def test_pairs_of_another_making_and_no_teacher_are_refused(data, teacher, tmp_path):
    folder = tmp_path / "pairs"
    make(data, teacher, folder)
    with pytest.raises(InputError, match="seed 3, not 4"):
        make(data, teacher, folder, Teaching(pairs=40, crop_px=64, degradation="photo", seed=4))
    with pytest.raises(ModelError, match="missing"):
        make(data, tmp_path / "nothing.safetensors", tmp_path / "other")
