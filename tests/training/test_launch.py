import json
import logging
import tomllib
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from sdsr.checkpoints.weights import fill_from_run, save_method
from sdsr.errors import InputError, ModelError
from sdsr.methods import METHODS
from sdsr.methods.settings import with_settings
from sdsr.prior.tiny import tiny_prior
from sdsr.training import launch as launching
from sdsr.training.launch import LaunchSettings, launch, load_parts
from sdsr.training.run import RunSettings

CHANGES = {"batch": "2", "crop_px": "64", "ema_decay": "0.9", "optimizer.decay_from": "1.0", "method.levels": "all"}


@pytest.fixture
def settings(data) -> LaunchSettings:
    return LaunchSettings(data=data, stage="fidelity", prior="tiny", changes=CHANGES, precision="no")


def test_a_resumed_run_continues_the_loss_curve_and_ends_with_the_same_parts(settings, tmp_path, scalars):
    through, parts = tmp_path / "through", tmp_path / "parts"
    launch("d3sr-small", settings, RunSettings(folder=through, steps=6))
    launch("d3sr-small", settings, RunSettings(folder=parts, steps=3))
    launch("d3sr-small", settings, RunSettings(folder=parts, steps=6))
    assert scalars(parts) == pytest.approx(scalars(through), rel=1e-5, abs=1e-8)
    assert len({step for step, _ in scalars(parts)}) == 6
    for name in ("unet", "prompt"):
        one, two = (load_file(run / "parts" / f"{name}.safetensors") for run in (through, parts))
        for key in one:
            torch.testing.assert_close(one[key], two[key], atol=1e-5, rtol=1e-4)


def test_parts_say_how_they_came_to_be_and_fill_a_restorer(settings, tmp_path, data, scalars):
    validated = replace(settings, validation=data[1:], validation_px=64, validation_photos=2)
    folder = launch("d3sr-small", validated, RunSettings(folder=tmp_path / "run", steps=2, seed=4))
    with safe_open(folder / "unet.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["recipe"] == "d3sr-small"
    assert metadata["prior_sha256"] == tiny_prior().sha256
    assert [json.loads(metadata[key]) for key in ("seed", "step", "finished")] == [4, 2, True]
    assert tomllib.loads(metadata["stage"])["crop_px"] == 64
    restorer = with_settings(METHODS["d3sr-small"].stage("fidelity"), {"method.levels": "all"}).build("tiny")
    assert fill_from_run(restorer, folder)["step"] == "2"
    trained = load_file(folder / "unet.safetensors")
    assert torch.equal(restorer.prior.unet.conv_in.weight, trained["conv_in.weight"])
    values = scalars(tmp_path / "run")
    assert {"validation/psnr", "validation/detail"} <= {name for step, name in values if step == 2}


def test_a_run_begins_with_the_parts_of_others(settings, tmp_path, caplog):
    """Each folder fills what it has, a later one wins, and what none has stays fresh and is named."""
    folder = launch("d3sr-small", settings, RunSettings(folder=tmp_path / "first", steps=3))
    still = replace(settings, changes=CHANGES | {"optimizer.learning_rate": "0.0"})
    again = launch("d3sr-small", replace(still, init_from=(folder,)), RunSettings(folder=tmp_path / "second", steps=1))
    for key, tensor in load_file(folder / "unet.safetensors").items():
        torch.testing.assert_close(load_file(again / "unet.safetensors")[key], tensor)
    only, other = tmp_path / "only", tmp_path / "other"
    for target, value in ((only, 3.0), (other, 4.0)):
        target.mkdir()
        tokens = load_file(folder / "prompt.safetensors")["tokens"]
        save_file({"tokens": torch.full_like(tokens, value)}, target / "prompt.safetensors")
    run = RunSettings(folder=tmp_path / "third", steps=1)
    mixed = load_file(launch("d3sr-small", replace(still, init_from=(folder, only, other)), run) / "prompt.safetensors")
    assert mixed["tokens"].unique().tolist() == [4.0]
    assert "training begins them anew" not in caplog.text
    partly = launch("d3sr-small", replace(still, init_from=(only,)), RunSettings(folder=tmp_path / "fourth", steps=1))
    assert load_file(partly / "prompt.safetensors")["tokens"].unique().tolist() == [3.0]
    torch.testing.assert_close(
        load_file(partly / "unet.safetensors")["conv_in.weight"], tiny_prior().unet.conv_in.weight.detach()
    )
    assert "no --from folder has unet, so" in caplog.text


def test_parts_that_are_not_there_or_do_not_fit_are_errors(settings, tmp_path):
    run = RunSettings(folder=tmp_path / "run", steps=1)
    (tmp_path / "parts").mkdir()
    begun = replace(settings, init_from=(tmp_path / "parts",))
    with pytest.raises(ModelError, match=r"has none of unet\.safetensors, prompt\.safetensors; name the parts folder"):
        launch("d3sr-small", begun, run)
    save_file({"tokens": torch.zeros(1, 2, 3)}, tmp_path / "parts" / "prompt.safetensors")
    with pytest.raises(ModelError, match=r"prompt\.safetensors does not fit prompt \(size mismatch for tokens"):
        launch("d3sr-small", begun, run)
    assert not (tmp_path / "run").exists()


def test_what_a_stage_lacks_of_its_method_is_noted(settings, tmp_path, monkeypatch):
    notes = []
    monkeypatch.setattr(launching, "train", lambda *_, metadata, **__: notes.append(metadata) or tmp_path)
    plain = replace(settings, stage="distillation", changes={"batch": "1", "crop_px": "64"})
    launch("addsr-small", plain, RunSettings(folder=tmp_path / "run", steps=1))
    assert notes[0]["method"] == {"decoder": None}


def test_a_teacher_begins_as_its_student(settings, tmp_path, monkeypatch, caplog):
    training_steps = []
    monkeypatch.setattr(
        launching, "train", lambda training_step, *_, **__: training_steps.append(training_step) or tmp_path
    )
    plain = replace(settings, stage="distillation", changes={"batch": "1", "crop_px": "64"})
    launch("addsr-small", plain, RunSettings(folder=tmp_path / "run", steps=1))
    assert "distillation begins anew, though made to begin with parts of seesr-small (--from)" in caplog.text
    wanted = {name: part.state_dict() for name, part in training_steps[0].trainable_modules.items()}
    for name, tensors in wanted.items():
        for tensor in tensors.values():
            tensor.uniform_()
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, tmp_path / f"{name}.safetensors")
    caplog.clear()
    launch("addsr-small", replace(plain, init_from=(tmp_path,)), RunSettings(folder=tmp_path / "run", steps=1))
    assert not caplog.text
    student, teacher = training_steps[1].trainable_modules, training_steps[1].terms[0].function.restorer.parts.modules
    for name in ("attention", "control_attention"):
        torch.testing.assert_close(dict(student[name].state_dict()), dict(wanted[name]))
        torch.testing.assert_close(dict(teacher.get_submodule(name).state_dict()), dict(wanted[name]))


def test_a_run_begins_with_an_exported_method_too(tmp_path):
    """Whose files leave out what is still the prior's, or in the folder beside it."""
    recipe, other = METHODS["seesr-small"], METHODS["addsr-small"]
    restorer, begun = (recipe.method.build("tiny") for _ in range(2))
    with torch.no_grad():
        for parameter in restorer.parts.modules["attention"].parameters():
            parameter.add_(0.25)
        restorer.parts.modules["controlnet"].get_parameter("conv_in.bias").add_(1)
    save_method(restorer, tmp_path / "addsr", other, {})
    save_method(restorer, tmp_path / "seesr", recipe, {}, base=tmp_path / "addsr")
    load_parts(dict(begun.parts.modules.items()), [tmp_path / "seesr"])
    wanted = dict(restorer.parts.modules.state_dict())
    torch.testing.assert_close(dict(begun.parts.modules.state_dict()), wanted, atol=1e-3, rtol=1e-3)
    (tmp_path / "seesr" / "attention.safetensors").write_bytes((tmp_path / "addsr/controlnet.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r"are not those of method\.json \(sha256 differs\)"):
        load_parts(dict(begun.parts.modules.items()), [tmp_path / "seesr"])


def test_of_another_network_what_fits_can_be_taken(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="sdsr.training.launch")
    part = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    own = {name: tensor.clone() for name, tensor in part.state_dict().items()}
    other = {"0.weight": torch.full((2, 2), 7.0), "1.weight": torch.ones(5, 2), "2.bias": torch.ones(1)}
    save_file(other, tmp_path / "part.safetensors")
    load_parts({"part": part}, [tmp_path], strict=False)
    assert torch.equal(part[0].weight, other["0.weight"])
    assert all(torch.equal(tensor, own[name]) for name, tensor in part.state_dict().items() if name != "0.weight")
    assert "fills 1 of 4 tensors" in caplog.text


def test_what_does_not_exist_is_an_error_that_helps(settings, tmp_path):
    run = RunSettings(folder=tmp_path / "run", steps=1)
    with pytest.raises(InputError, match=r"recipe \(=d3sr-tiny\) must be one of .*, d3sr-small,"):
        launch("d3sr-tiny", settings, run)
    with pytest.raises(InputError, match=r"stage \(=faith\) of d3sr-small must be one of fidelity, realism"):
        launch("d3sr-small", replace(settings, stage="faith"), run)
    with pytest.raises(InputError, match="did you mean 'crop_px'"):
        launch("d3sr-small", replace(settings, changes={"crop": "64"}), run)
    with pytest.raises(InputError, match="doesn't exist"):
        launch("d3sr-small", replace(settings, data=(tmp_path / "nowhere",)), run)
    assert not (tmp_path / "run").exists()


def test_a_stage_with_a_teacher_wants_pairs_and_others_do_not(settings, tmp_path):
    run = RunSettings(folder=tmp_path / "run", steps=1)
    with pytest.raises(InputError, match=r"stage decoder learns from a teacher; give --pairs"):
        launch("d3sr-small", replace(settings, stage="decoder"), run)
    with pytest.raises(InputError, match=r"--pairs .* mean nothing to stage fidelity"):
        launch("d3sr-small", replace(settings, pairs=(tmp_path,)), run)
    assert not (tmp_path / "run").exists()
