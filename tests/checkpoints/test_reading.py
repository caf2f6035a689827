"""Containers of published weights: what is read from each, and that a hostile or broken file is refused."""

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import save_file

from sdsr.checkpoints.reading import Checkpoint, read_checkpoint, without_wrappers
from sdsr.errors import ModelError

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2, dtype=torch.float16)}


class Harmful:
    """Pickled as a call that makes a file."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call, self.arguments


def same(checkpoint: Checkpoint) -> bool:
    tensors = checkpoint.tensors
    return set(tensors) == set(STATE) and all(
        torch.equal(tensors[name], value) and tensors[name].dtype == value.dtype for name, value in STATE.items()
    )


def saved(content: Any, path: Path, *, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod.", "_orig_mod."])
def test_torch_files_of_both_formats_lose_their_wrappers(zipped: bool, prefix: str, tmp_path: Path) -> None:
    content = {prefix + name: torch.nn.Parameter(value) for name, value in STATE.items()}
    assert same(read_checkpoint(saved(content, tmp_path / "bare.pth", zipped=zipped)))


def test_safetensors_are_known_by_their_content(tmp_path: Path) -> None:
    save_file({f"module.{name}": value for name, value in STATE.items()}, tmp_path / "weights.ckpt")
    assert same(read_checkpoint(tmp_path / "weights.ckpt"))


def test_a_prefix_that_only_some_names_have_stays() -> None:
    assert list(without_wrappers({"module.a": torch.ones(1), "b": torch.ones(1)})) == ["module.a", "b"]
    assert without_wrappers({}) == {}


def test_what_is_beside_the_state_dict_is_kept_apart(tmp_path: Path) -> None:
    content = {"state_dict": {**STATE, "note": "text"}, "global_step": 7, "optimizer_states": [{"state": {}}]}
    checkpoint = read_checkpoint(saved(content, tmp_path / "run.ckpt"))
    assert same(checkpoint)
    assert checkpoint.others == {"global_step": 7, "optimizer_states": [{"state": {}}], "note": "text"}


def test_nested_tensors_get_dotted_names(tmp_path: Path) -> None:
    content = {"rank_unet": 4, "unet_modules": ["x", "y"], "state_dict_unet": STATE}
    checkpoint = read_checkpoint(saved(content, tmp_path / "osediff.pkl"))
    assert list(checkpoint.tensors) == ["state_dict_unet.a.weight", "state_dict_unet.a.bias"]
    assert checkpoint.others == {"rank_unet": 4, "unet_modules": ["x", "y"]}


def test_frameworks_classes_are_neither_imported_nor_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Lightning writes: callbacks by their class, settings in its own dictionary, NumPy's numbers."""
    framework = types.ModuleType("pytorch_lightning.callbacks")
    for name, base in (("ModelCheckpoint", object), ("AttributeDict", dict)):
        setattr(framework, name, type(name, (base,), {"__module__": framework.__name__}))
    monkeypatch.setitem(sys.modules, framework.__name__.partition(".")[0], types.ModuleType("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, framework.__name__, framework)
    content = {
        "state_dict": STATE,
        "callbacks": {framework.ModelCheckpoint: {"best": torch.ones(1).numpy().max(), "where": Path("x")}},
        "hyper_parameters": framework.AttributeDict(rate=1e-4, args=argparse.Namespace(scale=4)),
    }
    path = saved(content, tmp_path / "run.ckpt")
    monkeypatch.delitem(sys.modules, framework.__name__)
    checkpoint = read_checkpoint(path)
    assert framework.__name__ not in sys.modules
    assert same(checkpoint)
    assert checkpoint.others["hyper_parameters"]["rate"] == 1e-4


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("call", [os.mkdir, eval, exec, subprocess.call, importlib.import_module, shutil.copy])
def test_a_pickle_that_would_act_is_refused_before_it_does(
    call: Callable[..., Any], zipped: bool, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    harmful = Harmful(call, f"open({str(victim)!r}, 'w')" if call in (eval, exec) else str(victim))
    path = saved({"state_dict": STATE, "callbacks": harmful}, tmp_path / "run.ckpt", zipped=zipped)
    with pytest.raises(ModelError, match=rf"wants \S*{call.__name__} to be run, which no weights need; don't use"):
        read_checkpoint(path)
    assert not victim.exists()


def test_a_function_of_a_known_framework_is_not_run_either(tmp_path: Path) -> None:
    victim = tmp_path / "victim.npy"
    path = saved({"state_dict": STATE, "callbacks": Harmful(np.save, str(victim), 1.0)}, tmp_path / "run.ckpt")
    assert same(read_checkpoint(path))
    assert not victim.exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<!DOCTYPE html><html>", "unlike safetensors and torch's files"),
        (b"version https://git-lfs.github.com/spec/v1", "unlike safetensors"),
        (b"", "unlike safetensors"),
        (b"PK\x03\x04 cut off", "can't be read"),
        (b"\x80\x02}q\x00.", "can't be read"),
        (b"\x80\x04\x95", "can't be read"),
        (b"\xff\x00\x00\x00\x00\x00\x00\x00{", "can't be read"),
    ],
)
def test_a_file_of_another_kind_is_refused(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.ckpt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"{why}.*download it again"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [([1, 2], "holds a list"), ({"epoch": 3}, r"no tensors, only \['epoch'\]"), (STATE["a.bias"], "holds a Tensor")],
)
def test_a_torch_file_without_named_tensors_is_refused(content: Any, why: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=why):
        read_checkpoint(saved(content, tmp_path / "odd.pth"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing.ckpt\) does not exist; give the path of"):
        read_checkpoint(tmp_path / "nothing.ckpt")


@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_a_large_file_is_mapped_not_loaded(kind: str, tmp_path: Path) -> None:
    path, megabytes = tmp_path / "large.ckpt", 96
    state = {f"layer{index}": torch.zeros(megabytes * 2**17 // 2) for index in range(4)}
    save_file(state, path) if kind == "safetensors" else torch.save(state, path)
    del state
    private = lambda: psutil.Process().memory_info().rss - psutil.Process().memory_info().shared  # noqa: E731
    before = private()
    checkpoint = read_checkpoint(path)
    assert len(checkpoint.tensors) == 4
    assert private() - before < megabytes * 2**20 / 4


def test_a_cyclic_dictionary_ends(tmp_path: Path) -> None:
    content: dict[str, Any] = dict(STATE)
    content["self"] = content
    checkpoint = read_checkpoint(saved(content, tmp_path / "cycle.pth"))
    assert {"self.a.weight", "a.weight"} <= checkpoint.tensors.keys()
    assert json.dumps(sorted(checkpoint.others)) == '["self.self"]'
