"""Pairs with a teacher's answers on disk: numbering over folders, and what is refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sdsr.data.taught import PAIRS_PER_SHARD, open_taught
from sdsr.errors import InputError


def shard(
    path: Path, first: int, count: int = PAIRS_PER_SHARD, keys: tuple[str, ...] = ("lq", "hq", "teacher")
) -> None:
    """A shard whose pair i is everywhere i."""
    path.parent.mkdir(exist_ok=True)
    sides = {"lq": 4, "hq": 16, "teacher": 16}
    numbers = torch.arange(first, first + count, dtype=torch.uint8)
    save_file({key: numbers.view(-1, 1, 1, 1).repeat(1, 3, sides[key], sides[key]) for key in keys}, path)


def test_numbers_run_over_shards_and_folders(tmp_path):
    shard(tmp_path / "a" / "00000.safetensors", 0)
    shard(tmp_path / "a" / "00001.safetensors", 32)
    shard(tmp_path / "b" / "00000.safetensors", 64)
    pairs = open_taught([tmp_path / "a", tmp_path / "b"])
    assert len(pairs) == 96
    batch = pairs.batch([0, 33, 95])
    assert batch.numbers == (0, 33, 95)
    assert (batch.lq[:, 0, 0, 0] * 255).round().tolist() == [0, 33, 95]
    assert batch.hq.shape == batch.teacher.shape == (3, 3, 16, 16)


def test_what_is_no_set_of_pairs_is_refused(tmp_path):
    with pytest.raises(InputError, match="hold no shards"):
        open_taught([tmp_path])
    (tmp_path / "00000.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="can't be read"):
        open_taught([tmp_path])
    shard(tmp_path / "00000.safetensors", 0, keys=("lq", "hq"))
    with pytest.raises(InputError, match="lacks teacher"):
        open_taught([tmp_path])
    shard(tmp_path / "00000.safetensors", 0, count=7)
    with pytest.raises(InputError, match="not 32"):
        open_taught([tmp_path])
