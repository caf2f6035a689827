import json
import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from sdsr.errors import InputError
from sdsr.training.run import (
    CHECKPOINTS_KEPT,
    RunSettings,
    atomic_folder,
    checkpoints,
    drop_old_checkpoints,
    save_parts,
    write_manifest,
)


def test_a_folder_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "deep" / "step-1"
    with atomic_folder(target) as partial:
        (partial / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    assert [path.name for path in target.parent.iterdir()] == ["step-1"]


def test_an_exception_leaves_no_target_and_what_was_there_before_untouched(tmp_path):
    target = tmp_path / "parts"
    for existing in (False, True):
        with pytest.raises(RuntimeError, match="killed"), atomic_folder(target) as partial:  # noqa: PT012
            (partial / "half").write_text("")
            raise RuntimeError("killed")
        assert target.exists() == existing
        if not existing:
            with atomic_folder(target) as partial:
                (partial / "whole").write_text("old")
    assert [path.name for path in target.iterdir()] == ["whole"]


def test_leftovers_of_a_killed_run_are_no_checkpoint_and_are_overwritten(tmp_path):
    folder = tmp_path / "checkpoints"
    with atomic_folder(folder / "step-00000002"):
        pass
    leftover = folder / ".step-00000003.partial"
    leftover.mkdir()
    (leftover / "half").write_text("")
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000002"]
    with atomic_folder(folder / "step-00000003") as partial:
        assert list(partial.iterdir()) == []
    assert len(checkpoints(tmp_path)) == 2


def test_the_newest_checkpoints_are_kept(tmp_path):
    for step in (5, 40, 300, 2000):
        with atomic_folder(tmp_path / "checkpoints" / f"step-{step:08d}"):
            pass
    drop_old_checkpoints(tmp_path)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000300", "step-00002000"]
    assert CHECKPOINTS_KEPT == 2


def test_progress_is_that_of_steps_or_minutes_whichever_is_farther(tmp_path):
    by_steps = RunSettings(folder=tmp_path, steps=200)
    assert [by_steps.progress(step, 1e6) for step in (0, 50, 200, 300)] == [0, 0.25, 1, 1]
    both = RunSettings(folder=tmp_path, steps=200, minutes=2.0)
    assert both.progress(50, 30.0) == 0.25
    assert both.progress(50, 60.0) == 0.5
    assert both.progress(1, 121.0) == 1


def test_a_folder_belongs_to_one_run(tmp_path):
    known = {"recipe": "a", "stage": "s", "prior_sha256": "1", "seed": 0, "steps": 10}
    write_manifest(tmp_path / "run", known)
    write_manifest(tmp_path / "run", known | {"steps": 20})
    with pytest.raises(InputError, match=r"begun with another seed \(=0, not 1\)"):
        write_manifest(tmp_path / "run", known | {"seed": 1})


def test_a_refused_resume_names_the_settings_that_differ_and_is_short(tmp_path):
    settings = {f"objective.weight_{place}": str(place) for place in range(40)} | {"batch": "4", "crop_px": "64"}
    known = {"recipe": "a", "stage": repr(settings), "settings": settings, "prior_sha256": "1" * 64, "seed": 0}
    write_manifest(tmp_path / "run", known)
    other = settings | {"batch": "8", "objective.terms": "Term(" + "x" * 500 + ")"}
    with pytest.raises(InputError) as refused:
        write_manifest(tmp_path / "run", known | {"stage": repr(other), "settings": other, "prior_sha256": "2" * 64})
    message = str(refused.value)
    assert "another batch (=4, not 8)" in message
    assert "another objective.terms (=none, not Term(xxx" in message
    assert "another prior_sha256 (=111" in message
    assert len(message) - len(str(tmp_path)) < 420
    many = dict.fromkeys(settings, "9")
    with pytest.raises(
        InputError, match=r"another objective\.weight_0 \(=0, not 9\).*; 36 more settings; name another"
    ):
        write_manifest(tmp_path / "run", known | {"stage": repr(many), "settings": many})


def test_a_run_noted_without_its_settings_is_refused_briefly_too(tmp_path):
    old = {"recipe": "a", "stage": "Stage(" + "a=1, " * 300 + "batch=4)", "seed": 0}
    write_manifest(tmp_path / "run", old)
    new = {**old, "stage": old["stage"].replace("batch=4", "batch=8"), "settings": {"batch": "8"}}
    with pytest.raises(InputError, match=r"batch=4\), not \.\.\..*batch=8\)\); name another") as refused:
        write_manifest(tmp_path / "run", new)
    assert len(str(refused.value)) - len(str(tmp_path)) < 250
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json can't be read"):
        write_manifest(tmp_path / "run", new)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": -1},
        {"minutes": 0.0},
        {"minutes": -5.0},
        {"minutes": math.nan},
        {"minutes": math.inf},
        {"save_every_s": -1.0},
        {"save_every_s": math.nan},
        {"validate_every": 0},
        {"validate_every": -3},
        {"seed": -1},
        {"seed": 2**64},
        {"loader_workers": 0},
    ],
)
def test_a_run_with_an_impossible_length_or_pace_is_an_error(tmp_path, wrong):
    with pytest.raises(InputError, match=r"\w+ \(=\S+\) must be (above|at least|in) .*; choose such a number"):
        RunSettings(**{"folder": tmp_path, "steps": 5} | wrong)


def test_parts_are_files_with_the_runs_metadata(tmp_path):
    parts = {"unet": {"w": torch.ones(2, 3).T}, "prompt": {"tokens": torch.zeros(1)}}
    save_parts(parts, tmp_path, {"recipe": "x", "step": 7, "minutes": None})
    assert torch.equal(load_file(tmp_path / "unet.safetensors")["w"], torch.ones(3, 2))
    with safe_open(tmp_path / "prompt.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["recipe"] == "x"
    assert json.loads(metadata["step"]) == 7
    assert json.loads(metadata["minutes"]) is None
