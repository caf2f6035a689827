import tomllib
from dataclasses import fields, replace

import pytest
from typer.testing import CliRunner

from sdsr.cli.main import app
from sdsr.errors import InputError
from sdsr.methods.recipe import Stage
from sdsr.methods.settings import with_settings
from sdsr.training.configuration import (
    canonical_leaves,
    canonical_toml,
    read_toml,
    run_options,
    stage_changes,
    stage_toml,
)
from sdsr.training.recipes import RECIPES

RUN = CliRunner()
STAGES = [(name, stage) for name, recipe in RECIPES.items() for stage in recipe.stages]


@pytest.mark.parametrize(("recipe", "stage"), STAGES, ids=[f"{name}-{stage.name}" for name, stage in STAGES])
def test_a_printed_stage_reads_back_as_itself(recipe, stage):
    """From a stage whose leaves were all moved, the printed settings lead back to the stage that was printed."""
    tables = tomllib.loads(stage_toml(stage))
    assert tables["run"] == {"stage": stage.name}
    changes = stage_changes(tables)
    assert with_settings(stage, changes) == stage
    other = replace(stage, batch=stage.batch + 1, optimizer=replace(stage.optimizer, betas=(0.1, 0.2)), crop_px=8)
    assert with_settings(other, changes) == stage


def test_floats_flags_and_lists_keep_their_values(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("batch = 3\n[optimizer]\nlearning_rate = 1e-4\nbetas = [0.5, 0.9]\n[objective.plan]\ntimes = [7]\n")
    changes = stage_changes(read_toml(path))
    stage = with_settings(RECIPES["d3sr-small"].stage("fidelity"), changes)
    assert (stage.batch, stage.optimizer.learning_rate, stage.optimizer.betas) == (3, 1e-4, (0.5, 0.9))
    assert stage.objective.plan.times == (7,)
    refined = RECIPES["small-autoencoder"].stage("reconstruction")
    table = {"objective": {"train_encoder": False}, "degradation": "none"}
    changed = with_settings(refined, stage_changes(table))
    assert changed.objective.train_encoder is False
    assert changed.degradation is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batsh = 3", "did you mean 'batch'"),
        ("[optimiser]\nlearning_rate = 1.0", "did you mean 'optimizer'"),
        ("[optimizer]\nlearning = 1.0", "did you mean 'learning_rate'"),
        ("batch = 1.5", r"batch \(=1.5\) must be a whole number"),
        ("optimizer = 3", r"optimizer \(=3\) must be"),
    ],
)
def test_a_wrong_setting_is_an_error_with_the_nearest_one(text, message):
    stage: Stage = RECIPES["d3sr-small"].stage("fidelity")
    with pytest.raises(InputError, match=message):
        with_settings(stage, stage_changes(tomllib.loads(text)))


def test_a_wrong_file_or_option_is_an_error(tmp_path):
    path = tmp_path / "run.toml"
    with pytest.raises(InputError, match="can't be read"):
        read_toml(path)
    path.write_text("batch = ")
    with pytest.raises(InputError, match="is no TOML"):
        read_toml(path)
    with pytest.raises(InputError, match="did you mean 'minutes'"):
        run_options({"run": {"minuts": 3}}, ("minutes", "steps"))
    with pytest.raises(InputError, match=r"run \(=3\) must be a table"):
        run_options({"run": 3}, ("minutes",))


def test_the_command_takes_the_file_then_what_was_typed(tmp_path, monkeypatch):
    """`--set` wins over the file's tables, an option over `[run]`, and `[run]` may give what is required."""
    called = []
    monkeypatch.setattr("sdsr.training.launch.launch", lambda *args: called.append(args) or tmp_path)
    path = tmp_path / "run.toml"
    path.write_text(
        'batch = 3\nsteps = 9\n[optimizer]\nlearning_rate = 1e-4\n[run]\nstage = "fidelity"\n'
        'data = ["photos", "more"]\nrun = "runs/a"\nseed = 5\nfrom = ["parts"]\nsave-every = 7\nshard = true\n'
    )
    typed = ["train", "d3sr-small", "--config", str(path), "--set", "batch=4", "--seed", "6"]
    done = RUN.invoke(app, typed)
    assert done.exit_code == 0, done.output
    ((recipe, settings, run),) = called
    assert recipe == "d3sr-small"
    assert settings.changes == {"batch": "4", "steps": "9", "optimizer.learning_rate": "0.0001"}
    assert [str(folder) for folder in (*settings.data, *settings.init_from)] == ["photos", "more", "parts"]
    assert (settings.stage, run.seed, run.save_every_s, str(run.folder)) == ("fidelity", 6, 7.0, "runs/a")
    assert run.shard


def test_the_command_prints_a_stage_with_its_changes(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('batch = 3\n[run]\nstage = "fidelity"\n')
    printed = RUN.invoke(app, ["train", "d3sr-small", "--config", str(path), "--set", "crop_px=64", "--print-config"])
    assert printed.exit_code == 0, printed.output
    tables = tomllib.loads(printed.output)
    assert (tables["batch"], tables["crop_px"], tables["run"]["stage"]) == (3, 64, "fidelity")
    assert "image" in printed.output  # the terms are named, though only code can change them


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "runs/a"], "--data"),
        (["--data", "photos"], "--run"),
        (["--data", "photos", "--run", "runs/a", "--set", "batch"], "KEY=VALUE"),
    ],
)
def test_what_is_missing_is_asked_for(arguments, message):
    done = RUN.invoke(app, ["train", "d3sr-small", *arguments])
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.parametrize(("recipe", "stage"), STAGES, ids=[f"{name}-{stage.name}" for name, stage in STAGES])
def test_the_canonical_form_is_toml_of_every_leaf(recipe, stage):
    read = tomllib.loads(canonical_toml(stage))
    assert read["optimizer"]["learning_rate"] == stage.optimizer.learning_rate
    assert read["name"] == stage.name
    assert "function" not in canonical_toml(stage).replace(".function.", "")
    assert " at 0x" not in canonical_toml(stage)
    other = replace(stage, optimizer=replace(stage.optimizer, learning_rate=0.5), batch=stage.batch + 1)
    assert {name for name, text in canonical_leaves(other).items() if canonical_leaves(stage)[name] != text} == {
        "batch",
        "optimizer.learning_rate",
    }


def test_a_renamed_function_or_class_changes_no_runs_identity(monkeypatch):
    stage = RECIPES["d3sr-small"].stage("realism")
    before = canonical_toml(stage)
    for name in ("__name__", "__qualname__"):
        monkeypatch.setattr(stage.objective.terms[1].function, name, "renamed")
    values = {field.name: getattr(stage.method, field.name) for field in fields(stage.method)}
    stage = replace(stage, method=type("renamed", (type(stage.method),), {})(**values))
    assert repr(stage).count("renamed") == 2
    assert canonical_toml(stage) == before


def test_what_a_partial_function_was_told_belongs_to_the_identity():
    leaves = canonical_leaves(RECIPES["d3sr-small"].stage("realism"))
    assert leaves["objective.terms.lattice.weight"] == "4.0"
    assert leaves["objective.terms.lattice.function.0"] == "8"


def test_settings_reach_the_networks_of_a_method():
    stage = RECIPES["stablesr-small"].stage("modulation")
    changed = with_settings(stage, {"method.hidden": "8", "method.encoder.widths": "32,64"})
    assert (changed.method.hidden, changed.method.encoder.widths) == (8, (32, 64))
    assert canonical_leaves(changed)["method.hidden"] == "8"
    with pytest.raises(InputError, match=r"method\.hiden\) has no 'hiden' in StableSR; did you mean 'hidden'\?"):
        with_settings(stage, {"method.hiden": "8"})
