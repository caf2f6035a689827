"""Legs for a GPU, rehearsed: the same path on the CPU, on the tiny prior."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image as pillow
from safetensors.torch import load_file, save_file

from bench.gpu import full_size, legs, offload, training
from bench.gpu.leg import SHARD_BYTES, write_shards
from bench.gpu.rows import Rows
from sdsr.losses.real_esrgan import RealEsrgan
from sdsr.methods import METHODS


@pytest.fixture
def command(tmp_path: Path, photo) -> list[str]:
    torch.manual_seed(0)
    save_file(RealEsrgan(width=4, growth=2, blocks=1).state_dict(), tmp_path / "teacher.safetensors")
    (tmp_path / "photos").mkdir()
    pixels = (photo[0].permute(1, 2, 0) * 255).byte().numpy()
    pillow.fromarray(pixels).save(tmp_path / "photos" / "a.png")
    teacher, photos, to = (str(tmp_path / name) for name in ("teacher.safetensors", "photos", "out"))
    settings = ["--batch", "2", "--crop-px", "64", "--rate-seconds", "0.01"]
    return ["--rehearse", "--teacher", teacher, "--photos", photos, "--to", to, *settings]


@pytest.mark.slow
def test_legs_train_one_upon_another_and_leave_small_files(command, tmp_path):
    checked = ["--validation", str(tmp_path / "photos"), "--validation-px", "64", "--validate-every", "1"]
    legs.main([*command, "--legs", "invsr=0.01", "realism=0.01"])
    legs.main([*command, *checked, "--legs", "whole=0.01", "nearer=0.01"])
    log = [json.loads(line) for line in (tmp_path / "out" / "leg.jsonl").read_text().splitlines()]
    told = {line["leg"]: line for line in log if "leg" in line}
    assert list(told) == ["invsr", "realism", "whole", "nearer"]
    assert all(line["images_per_s"] > 0 and line["gflop_per_image"] > 0 for line in told.values())
    shards = sorted((tmp_path / "out" / "weights").glob("*.safetensors"))
    assert all(path.stat().st_size <= SHARD_BYTES for path in shards)
    weights = {key: tensor for path in shards for key, tensor in load_file(path).items()}
    assert {path.name.rsplit("-", 1)[0] for path in shards} == {"invsr", "realism", "whole", "nearer"}
    assert {key.split("/")[0] for key in weights} >= {"unet", "decoder", "noise_predictor"}
    assert {tensor.dtype for tensor in weights.values() if tensor.numel() > 512} == {torch.float16}
    assert list((tmp_path / "out" / "whole" / "run" / "sheets").glob("*.png"))


def test_shards_stay_below_the_limit_and_hold_everything(tmp_path):
    tensors = {f"t{index}": torch.full((100_000,), float(index)) for index in range(7)}
    paths = write_shards({"part": tensors}, tmp_path, limit=450_000)
    assert len(paths) == 4
    assert all(path.stat().st_size <= 450_000 for path in paths)
    read = {key: tensor for path in paths for key, tensor in load_file(path).items()}
    assert {key: float(tensor[0]) for key, tensor in read.items()} == {f"t{index}": index for index in range(7)}
    assert SHARD_BYTES == 15 * 2**20


def test_a_leg_of_offloading_restores_in_each_way(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        offload.main(["--rehearse", "--sides", "8", "--repeats", "1", "--json", str(tmp_path / "told.json")])
    assert left.value.code == 0
    rows = json.loads((tmp_path / "told.json").read_text())["rows"]
    assert [row["offload"] for row in rows] == ["none", "model", "sequential"]
    assert all(row["seconds"] > 0 for row in rows)
    needs = [row["needs"] for row in rows]
    assert needs == sorted(needs, reverse=True)


@pytest.mark.slow
def test_what_a_card_must_have_is_counted_of_published_sizes(capsys):
    """866 million parameters of a UNet and all else of Stable Diffusion 2, in bfloat16."""
    found = {(row["offload"], row["tile_px"]): row["needs"] / offload.GIB for row in offload.predicted(METHODS["d3sr"])}
    assert found["none", 1024] > found["model", 1024] > found["sequential", 1024]
    assert 2.2 < found["none", 1024] - found["model", 1024] < 2.4  # all but the autoencoder, where that is at work
    assert "unet 1.6" in capsys.readouterr().out


def test_full_size_times_each_way_and_counts(tmp_path, capsys):
    full_size.main(["--rehearse", "--methods", "d3sr", "consissr", "--rounds", "1", "--json", str(tmp_path / "a.json")])
    rows = {row["row"]: row for row in json.loads((tmp_path / "a.json").read_text())["rows"]}
    assert not [row for row in rows.values() if "error" in row or "left_out" in row]
    assert {name for name in rows if "ms" in rows[name]} == {
        *(f"{method}, {way}" for method in ("d3sr", "consissr") for way in ("eager", "CUDA graphs")),
        *(f"d3sr, {way}, CUDA graphs" for way in ("contiguous", "norms in bfloat16")),
        "d3sr, contiguous",
        *(f"diffusers, eager, {kind}" for kind in ("bfloat16", "float16", "bfloat16, channels_last")),
    }
    assert rows["against eager, d3sr"]["max"] == 0
    operations = rows["d3sr, count"]["operations"]
    assert operations["whole"] == operations["encode"] + operations["denoise"] + operations["decode"] > 0
    assert "| d3sr, CUDA graphs |" in capsys.readouterr().out


def test_a_row_that_fails_lets_the_others_go_on(capsys):
    rows = Rows(device=torch.device("cpu"), seconds=100.0, rounds=1)
    assert rows.time("bad", {"whole": lambda: 1 / 0}) is None
    assert rows.time("good", {"whole": lambda: None}) is not None
    assert "bad: FAILED, ZeroDivisionError" in capsys.readouterr().out
    rows.seconds = 0.0
    assert rows.time("late", {"whole": lambda: pytest.fail("no time is left")}) is None
    assert [row["row"] for row in rows.told] == ["bad", "good", "late"]


def test_training_steps_of_both_sides_are_timed_and_counted(tmp_path, capsys):
    arguments = ["--rehearse", "--rounds", "1", "--batches", "1", "2", "--seconds", "600"]
    training.main([*arguments, "--json", str(tmp_path / "told.json")])
    rows = json.loads((tmp_path / "told.json").read_text())["rows"]
    assert [row["batch"] for row in rows] == [1, 2, 1, 2]
    assert all(row["images_per_s"] > 0 and row["share_of_product"] > 0 for row in rows)
    for one, two in (rows[:2], rows[2:]):
        assert two["flop"] == pytest.approx(2 * one["flop"], rel=0.05)
