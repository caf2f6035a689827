"""`sdsr convert stablesr`, then `stablesr-cfw` into the same folder; on the recorded networks of reduced width."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

from sdsr.cli.main import app
from sdsr.digests import file_sha256
from sdsr.errors import InputError
from sdsr.method_folders import read_description
from sdsr.methods import METHODS
from sdsr.methods.published import PUBLISHED
from sdsr.methods.stablesr.encoder import EncoderSettings

GOLDEN = Path(__file__).parents[2] / "golden"
UNET = {
    "block_out_channels": (32, 32, 32, 32),
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "cross_attention_dim": 24,
    "norm_num_groups": 8,
    "use_linear_projection": True,
}
AUTOENCODER = {
    "block_out_channels": (32, 32, 32, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
ENCODER = EncoderSettings(widths=(32, 32, 64, 64), blocks=1, map_channels=32, groups=8)


def weights(name: str, prefix: str = "") -> dict[str, Tensor]:
    stored = load_file(GOLDEN / f"stablesr_{name}/weights.safetensors")
    return {prefix + key: tensor.float() for key, tensor in stored.items()}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The two published files, and conversions that expect their width."""
    main, wrapping = PUBLISHED["stablesr"], PUBLISHED["stablesr-cfw"]
    narrow = {
        "stablesr": replace(main, convert=partial(main.convert, layout=UNET, encoder=ENCODER, hidden=16)),
        "stablesr-cfw": replace(wrapping, convert=partial(wrapping.convert, layout=AUTOENCODER, blocks=1)),
    }
    for name, published in narrow.items():
        monkeypatch.setitem(PUBLISHED, name, published)
    states = (
        weights("unet_sft", "model.diffusion_model.") | weights("time_aware_encoder", "structcond_stage_model."),
        weights("cfw_encoder") | weights("cfw"),
    )
    paths = tmp_path / "stablesr.ckpt", tmp_path / "cfw.ckpt"
    for path, state in zip(paths, states, strict=True):
        torch.save({"state_dict": state}, path)
    return paths


def convert(name: str, *arguments: Any) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["convert", name, *map(str, arguments), "--json"])
    if done.exception:
        raise done.exception
    return json.loads(done.output)


def test_two_files_become_one_folder(files: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    report = convert("stablesr", files[0], "--to", folder)
    assert (report["unknown"], report["missing"]) == ([], [])
    assert {name for name, part in report["parts"].items() if part["kept"]} == {"modulation", "time_aware_encoder"}
    first = read_description(folder)
    convert("stablesr-cfw", files[1], "--to", folder)
    noted = read_description(folder)
    parts = ("modulation", "time_aware_encoder", "feature_wrapping")
    assert noted["files"] == {f"{part}.safetensors": file_sha256(folder / f"{part}.safetensors") for part in parts}
    same = ("recipe", "prior", "prior_sha256", "times", "source_sha256")
    assert {key: noted[key] for key in same} == {key: first[key] for key in same}
    assert noted["recipe"] == "stablesr"
    assert noted["joined_sha256"] == file_sha256(files[1])


def test_the_wrapping_alone_is_examined_but_makes_no_folder(files: tuple[Path, Path], tmp_path: Path) -> None:
    assert convert("stablesr-cfw", files[1])["missing"] == []
    with pytest.raises(InputError, match=r"must hold one of stablesr, .*convert that one's first"):
        convert("stablesr-cfw", files[1], "--to", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["stablesr", "stablesr-768v", "stablesr-turbo"])
def test_what_is_kept_is_what_the_recipe_has(name: str) -> None:
    method = METHODS[name].method
    assert method is not None
    kept = {*PUBLISHED[name].parts, *PUBLISHED["stablesr-cfw"].parts}
    assert set(method.build("tiny").parts.modules) == kept
    assert name in PUBLISHED["stablesr-cfw"].completes
