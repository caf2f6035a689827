"""Legs for a GPU, rehearsed: the same path on the CPU, on the tiny prior."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image as pillow
from safetensors.torch import load_file, save_file

from bench.gpu.decoder import main
from bench.gpu.leg import SHARD_BYTES, write_shards
from sdsr.losses.real_esrgan import RealEsrgan


@pytest.fixture
def command(tmp_path: Path, photo) -> list[str]:
    torch.manual_seed(0)
    save_file(RealEsrgan(width=4, growth=2, blocks=1).state_dict(), tmp_path / "teacher.safetensors")
    (tmp_path / "photos").mkdir()
    pixels = (photo[0].permute(1, 2, 0) * 255).byte().numpy()
    pillow.fromarray(pixels).save(tmp_path / "photos" / "a.png")
    teacher, photos, to = (str(tmp_path / name) for name in ("teacher.safetensors", "photos", "out"))
    settings = ["--batch", "2", "--crop-px", "64", "--rate-seconds", "0.01", "--validate-every", "1"]
    checked = ["--validation", photos, "--validation-px", "64"]
    return ["--rehearse", "--teacher", teacher, "--photos", photos, "--to", to, *settings, *checked]


@pytest.mark.parametrize("stage", ["decoder", "detail"])
def test_a_leg_trains_tells_its_rate_and_leaves_small_files(command, tmp_path, stage):
    main([*command, "--stage", stage, "--minutes", "0.02"])
    log = [json.loads(line) for line in (tmp_path / "out" / "leg.jsonl").read_text().splitlines()]
    assert log[0]["photos"] == 1
    assert log[1]["images_per_s"] > 0
    assert log[1]["gflop_per_image"] > 0
    assert log[2]["weights"] == ["decoder-0.safetensors"]
    weights = load_file(tmp_path / "out" / "weights" / "decoder-0.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert list((tmp_path / "out" / "run" / "sheets").glob("*.png"))


def test_shards_stay_below_the_limit_and_hold_everything(tmp_path):
    tensors = {f"t{index}": torch.full((100_000,), float(index)) for index in range(7)}
    paths = write_shards({"part": tensors}, tmp_path, limit=450_000)
    assert len(paths) == 4
    assert all(path.stat().st_size <= 450_000 for path in paths)
    read = {key: tensor for path in paths for key, tensor in load_file(path).items()}
    assert {key: float(tensor[0]) for key, tensor in read.items()} == {f"t{index}": index for index in range(7)}
    assert SHARD_BYTES == 15 * 2**20
