"""The folder of a method's parts: precision, and what half precision can't hold."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from sdsr.checkpoints.weights import fill_restorer, save_method, write_parts
from sdsr.digests import file_sha256
from sdsr.errors import ModelError
from sdsr.method_folders import read_description
from sdsr.methods.addsr.recipes import ADDSR_SMALL, SEESR_SMALL
from sdsr.methods.settings import with_settings
from sdsr.methods.trained import trained_recipe
from sdsr.prior.small_storage import load_small_prior, save_small_prior
from sdsr.prior.tiny import tiny_prior
from sdsr.restoration.restorer import Restorer


@pytest.mark.parametrize(
    ("dtype", "keep", "expected"),
    [
        (torch.float32, False, torch.float16),
        (torch.float32, True, torch.float32),
        (torch.bfloat16, False, torch.bfloat16),
        (torch.float16, False, torch.float16),
    ],
)
def test_precision(dtype: torch.dtype, keep: bool, expected: torch.dtype, tmp_path: Path) -> None:
    write_parts({"part": {"a": torch.rand(3, 2, dtype=dtype).T}}, tmp_path, {}, keep_precision=keep)
    assert load_file(tmp_path / "part.safetensors")["a"].dtype == expected


def test_eight_bits_are_for_large_weights(tmp_path: Path) -> None:
    large = torch.rand(64, 64, dtype=torch.float64) * 1e6
    write_parts({"part": {"a.weight": large, "a.bias": torch.rand(64)}}, tmp_path, {}, bits=8)
    stored = load_file(tmp_path / "part.safetensors")
    assert {name: tensor.dtype for name, tensor in stored.items()} == {
        "a.weight": torch.int8,
        "a.weight_scale": torch.float32,
        "a.bias": torch.float16,
    }


@pytest.mark.parametrize(
    ("value", "why"), [(1e6, "exceeds what float16 holds.*--keep-precision"), (float("nan"), "NaN")]
)
def test_what_half_precision_cannot_hold_is_an_error(value: float, why: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=why):
        write_parts({"part": {"a": torch.tensor([value])}}, tmp_path, {})


def test_parts_join_those_that_are_there(tmp_path: Path) -> None:
    told = {"recipe": "mine", "prior": "tiny", "prior_sha256": "", "times": [99]}
    write_parts({"one": {"a": torch.rand(2)}}, tmp_path, told)
    write_parts({"other": {"b": torch.rand(2)}}, tmp_path, read_description(tmp_path))
    noted = read_description(tmp_path)
    assert noted["recipe"] == "mine"
    assert noted["files"] == {
        f"{part}.safetensors": file_sha256(tmp_path / f"{part}.safetensors") for part in ("one", "other")
    }


def seesr(seed: int) -> Restorer:
    torch.manual_seed(seed)
    return SEESR_SMALL.method.build("tiny")


@pytest.fixture(params=[16, 8])
def lent(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Restorer, Path]:
    """A SeeSR whose ControlNet is that of an AddSR in the folder beside it, but for the layers on the photo."""
    teacher, student = seesr(0), seesr(0)
    with torch.no_grad():
        for name, parameter in student.parts.modules.named_parameters():
            if "controlnet_cond_embedding" in name or "attention" in name:
                parameter.add_(0.1)
        for restorer in (teacher, student):
            restorer.parts.modules.get_parameter("controlnet.conv_in.weight").mul_(0.9)
    save_method(student, tmp_path / "student", ADDSR_SMALL, {}, bits=request.param)
    save_method(teacher, tmp_path / "teacher", SEESR_SMALL, {}, base=tmp_path / "student", bits=request.param)
    return teacher, tmp_path


def is_in_eight_bits(folder: Path, name: str) -> bool:
    """Whether a parameter of a teacher or of its student is stored as integers."""
    part, _, key = name.partition(".")
    files = [load_file(folder / each / f"{part}.safetensors") for each in ("teacher", "student")]
    return any(f"{key}_scale" in file for file in files)


def largest_of_channels(tensor: Tensor) -> Tensor:
    return tensor.abs().amax(tuple(range(1, tensor.ndim)), keepdim=True)


def test_a_folder_leaves_to_another_what_both_have(lent: tuple[Restorer, Path]) -> None:
    teacher, folder = lent
    stored = load_file(folder / "teacher" / "controlnet.safetensors")
    assert stored.keys()
    assert all(name.startswith("controlnet_cond_embedding.") for name in stored)
    assert load_file(folder / "teacher" / "attention.safetensors")
    filled = seesr(1)
    fill_restorer(filled, folder / "teacher")
    found, expected = filled.parts.modules.state_dict(), teacher.parts.modules.state_dict()
    for name, tensor in expected.items():
        step = largest_of_channels(tensor) / 127 if is_in_eight_bits(folder, name) else 2e-3 * tensor.abs() + 2e-5
        assert ((found[name] - tensor).abs() <= 0.5001 * step).all(), name


def test_without_the_other_folder_or_with_another_one_it_says_so(lent: tuple[Restorer, Path]) -> None:
    _, folder = lent
    save_method(seesr(2), folder / "student", ADDSR_SMALL, {})
    with pytest.raises(ModelError, match="must have sha256"):
        fill_restorer(seesr(1), folder / "teacher")
    (folder / "student").rename(folder / "elsewhere")
    with pytest.raises(ModelError, match=r"method \(=teacher\) shares weights with student, which is not beside it"):
        fill_restorer(seesr(1), folder / "teacher")


def test_eight_bits_leave_to_prior_and_base_what_is_theirs_but_for_rounding(tmp_path: Path) -> None:
    """A prior and a base that are in 8 bits already, and parts that began with what these were before."""
    save_small_prior(tiny_prior(), tmp_path / "prior", bits=8)
    restorer = seesr(0)
    save_method(restorer, tmp_path / "base", ADDSR_SMALL, {}, bits=8)
    on_stored = replace(restorer, prior=load_small_prior(tmp_path / "prior"))
    save_method(on_stored, tmp_path / "eight", SEESR_SMALL, {}, base=tmp_path / "base", bits=8)
    save_method(on_stored, tmp_path / "half", SEESR_SMALL, {}, base=tmp_path / "base")
    left = {"eight": False, "half": True}
    key = "mid_block.resnets.0.conv1.weight"
    for folder, stored in left.items():
        assert (key in load_file(tmp_path / folder / "controlnet.safetensors")) == stored
        assert (key not in read_description(tmp_path / folder)["of_prior"]["controlnet"]) == stored
    assert not load_file(tmp_path / "eight" / "attention.safetensors")
    filled = SEESR_SMALL.restoring.build(load_small_prior(tmp_path / "prior"))
    fill_restorer(filled, tmp_path / "eight")
    rounded = filled.prior.network.get_parameter(key)
    assert torch.equal(filled.parts.modules.get_parameter(f"controlnet.{key}"), rounded)


def test_parts_fit_the_prior_that_took_the_place_of_theirs(tmp_path: Path) -> None:
    before = seesr(0)
    save_method(before, tmp_path / "method", SEESR_SMALL, {})
    sha256 = save_small_prior(replace(before.prior, succeeds=(before.prior.sha256,)), tmp_path / "prior", bits=8)
    after = load_small_prior(tmp_path / "prior")
    assert (after.sha256, after.succeeds) == (sha256, (before.prior.sha256,))
    fill_restorer(SEESR_SMALL.restoring.build(after), tmp_path / "method")
    with pytest.raises(ModelError, match="was trained on the prior with sha256"):
        fill_restorer(SEESR_SMALL.restoring.build(replace(after, succeeds=("0" * 64,))), tmp_path / "method")


def test_a_folder_restores_with_the_network_that_a_run_was_told_to_have(tmp_path: Path) -> None:
    recipe = with_settings(SEESR_SMALL, {"method.head_width": "10"})
    assert recipe.method is not None
    save_method(recipe.method.build("tiny"), tmp_path, recipe, {"method": {"head_width": "10"}})
    read = trained_recipe(SEESR_SMALL, read_description(tmp_path))
    assert read.method is not None
    assert read.method == recipe.method
    fill_restorer(read.method.build("tiny"), tmp_path)
    with pytest.raises(ModelError):
        fill_restorer(SEESR_SMALL.method.build("tiny"), tmp_path)
