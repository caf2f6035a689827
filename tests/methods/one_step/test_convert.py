"""Low-rank updates of one-step generators: names of every kind, and the published lists of OSEDiff and InvSR."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

from sdsr.cli.main import app
from sdsr.method_folders import read_description
from sdsr.methods.invsr import convert as invsr
from sdsr.methods.one_step import convert as lora
from sdsr.methods.one_step import convert_osediff as osediff
from sdsr.methods.one_step.convert import convert, convert_hypir, low_rank, unet_shapes
from sdsr.methods.one_step.generator import HYPIR, OSEDIFF, OneStep
from sdsr.prior.sources import SOURCES

KEYS = Path(__file__).parents[2] / "golden" / "keys"


def listed(name: str) -> list[list[str]]:
    return [line.split("\t") for line in (KEYS / name).read_text().splitlines()]


def meta(shape: str) -> Tensor:
    return torch.empty([int(side) for side in shape.split("x")], device="meta")


@pytest.fixture(scope="module")
def published_osediff() -> dict[str, Tensor]:
    """Every tensor of the published file, as a checkpoint's reader names it."""
    return {f"{part}.{name}": meta(shape) for part, name, shape in listed("keys_osediff_lora.txt") if shape != "module"}


def count(part: dict[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in part.values())


def test_every_tensor_of_osediff_is_used_and_of_the_published_size(published_osediff):
    converted = osediff.convert(published_osediff)
    assert (converted.unknown, converted.missing, converted.dropped) == ((), (), ())
    sizes = {name: count(part) for name, part in converted.parts.items()}
    assert sizes == {"lora": 4_055_712, "encoder_lora": 369_356, "first_layer": 11_840}
    assert sum(map(len, converted.parts.values())) == len(published_osediff) == 582


def test_what_osediff_lacks_or_adds_is_named(published_osediff):
    less = dict(published_osediff)
    del less["state_dict_unet.conv_in.base_layer.bias"]
    converted = osediff.convert(less | {"state_dict_unet.conv_in.scale": torch.ones(1), "step": torch.ones(1)})
    assert converted.missing == ("first_layer.bias",)
    assert set(converted.unknown) == {"state_dict_unet.conv_in.scale", "step"}


def test_every_tensor_of_invsr_is_used():
    published = {name: meta(shape) for name, shape in listed("keys_invsr_noise_predictor.txt")}
    converted = invsr.convert(published)
    assert (converted.unknown, converted.missing) == ((), ())
    assert count(converted.parts["noise_predictor"]) == 33_837_576


@pytest.mark.parametrize(
    "pattern",
    [
        "{layer}.lora_{side}.weight",
        "{layer}.lora_{side}.default.weight",
        "unet.{layer}.lora_{side}.weight",
        "base_model.model.{layer}.lora_{side}.default_0.weight",
        "unet.{layer}.lora.{way}.weight",
    ],
)
def test_names_of_every_kind_are_understood(pattern):
    state, names = {}, unet_shapes(OneStep())
    for name in names:
        layer, side, _ = name.rsplit(".", 2)
        side = side.removeprefix("lora_")
        state[pattern.format(layer=layer, side=side, way={"A": "down", "B": "up"}[side])] = torch.zeros(1)
    converted = convert(state | {"embedding": torch.zeros(77, 1024)})
    assert (converted.unknown, converted.missing) == ((), ())
    assert set(converted.parts["lora"]) == set(names)
    assert len(names) == 2 * 258
    assert converted.parts["prompt"]["tokens"].shape == (1, 77, 1024)


def test_updates_without_a_prompt_lack_it_and_strangers_are_named():
    converted = convert(
        {"conv_in.lora_A.weight": torch.zeros(1), "time_embedding.linear_1.lora_A.weight": torch.ones(1)}
    )
    assert "prompt.tokens" in converted.missing
    assert converted.unknown == ("time_embedding.linear_1.lora_A.weight",)
    assert low_rank({"conv_in.alpha": torch.ones(1)}, {}, scale=1.0) == ({}, {"conv_in.alpha": torch.ones(1)})


def test_hypir_leaves_the_first_convolution_alone():
    state = {name.replace(".weight", ".default.weight"): torch.zeros(1) for name in unet_shapes(HYPIR)}
    converted = convert_hypir(state)
    assert (converted.unknown, converted.missing, len(state)) == ((), (), 2 * 257)
    assert convert_hypir(state | {"conv_in.lora_A.default.weight": torch.zeros(1)}).unknown == (
        "conv_in.lora_A.weight",
    )


def test_a_published_file_becomes_a_folder(published_osediff, tmp_path):
    path, small = (
        tmp_path / "osediff.pkl",
        {name: torch.full(tensor.shape, 0.5) for name, tensor in published_osediff.items()},
    )
    nested = {
        part: {name.removeprefix(f"{part}."): tensor for name, tensor in small.items() if name.startswith(part)}
        for part in ("state_dict_unet", "state_dict_vae")
    }
    torch.save({**nested, "rank_unet": 4, "unet_lora_encoder_modules": ["conv_in"]}, path)
    done = CliRunner().invoke(app, ["convert", "osediff", str(path), "--to", str(tmp_path / "out")])
    assert done.exception is None, done.output
    noted = read_description(tmp_path / "out")
    assert (noted["recipe"], noted["times"], noted["prior"]) == ("osediff", [999], "sd-2.1-base")
    assert SOURCES["sd-2.1-base"].weights
    written = load_file(tmp_path / "out" / "encoder_lora.safetensors")
    assert set(written) == set(lora.encoder_shapes(4))
    assert OSEDIFF.alpha / OSEDIFF.rank == OSEDIFF.encoder_alpha / OSEDIFF.encoder_rank == 2
