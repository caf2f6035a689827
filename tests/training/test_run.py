import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from sdsr.errors import InputError
from sdsr.training.run import (
    CHECKPOINTS_KEPT,
    RunSettings,
    appearing,
    checkpoints,
    drop_old_checkpoints,
    note_run,
    save_parts,
)


def test_a_folder_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "deep" / "step-1"
    with appearing(target) as partial:
        (partial / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    assert [path.name for path in target.parent.iterdir()] == ["step-1"]


def test_an_exception_leaves_no_target_and_what_was_there_before_untouched(tmp_path):
    target = tmp_path / "parts"
    for existing in (False, True):
        with pytest.raises(RuntimeError, match="killed"), appearing(target) as partial:  # noqa: PT012
            (partial / "half").write_text("")
            raise RuntimeError("killed")
        assert target.exists() == existing
        if not existing:
            with appearing(target) as partial:
                (partial / "whole").write_text("old")
    assert [path.name for path in target.iterdir()] == ["whole"]


def test_leftovers_of_a_killed_run_are_no_checkpoint_and_are_overwritten(tmp_path):
    folder = tmp_path / "checkpoints"
    with appearing(folder / "step-00000002"):
        pass
    leftover = folder / ".step-00000003.partial"
    leftover.mkdir()
    (leftover / "half").write_text("")
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000002"]
    with appearing(folder / "step-00000003") as partial:
        assert list(partial.iterdir()) == []
    assert len(checkpoints(tmp_path)) == 2


def test_the_newest_checkpoints_are_kept(tmp_path):
    for step in (5, 40, 300, 2000):
        with appearing(tmp_path / "checkpoints" / f"step-{step:08d}"):
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
    note_run(tmp_path / "run", known)
    note_run(tmp_path / "run", known | {"steps": 20})
    with pytest.raises(InputError, match=r"begun with another seed \(=0, not 1\)"):
        note_run(tmp_path / "run", known | {"seed": 1})


def test_parts_are_files_with_the_runs_metadata(tmp_path):
    parts = {"unet": {"w": torch.ones(2, 3).T}, "prompt": {"tokens": torch.zeros(1)}}
    save_parts(parts, tmp_path, {"recipe": "x", "step": 7, "minutes": None})
    assert torch.equal(load_file(tmp_path / "unet.safetensors")["w"], torch.ones(3, 2))
    with safe_open(tmp_path / "prompt.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["recipe"] == "x"
    assert json.loads(metadata["step"]) == 7
    assert json.loads(metadata["minutes"]) is None
