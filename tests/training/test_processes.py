"""Runs that are killed, told to stop, and spread over processes: real processes, a few seconds each on idle cores.

How long they are waited for tells a hanging one from one on a busy machine, and states nothing.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sdsr.training.launch import LaunchSettings, launch
from sdsr.training.run import RunSettings, checkpoints
from tests.training.worker import launched

WORKER = Path(__file__).with_name("worker.py")
ROOT = Path(__file__).parents[2]
CHANGES = {"batch": "2", "crop_px": "64", "ema_decay": "0.9", "optimizer.decay_from": "1.0"}


def started(*arguments: str, **environment: str) -> subprocess.Popen:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **environment}
    return subprocess.Popen(
        [sys.executable, str(WORKER), *arguments],
        env=os.environ | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def two_of_a_run() -> dict[str, str]:
    """Return what tells two processes of this machine of each other, but their ranks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    return {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}


def wait_for(process: subprocess.Popen, run: Path, count: int, limit_s: float = 300) -> None:
    """Wait until the run has a checkpoint beyond `count` steps."""
    until = time.monotonic() + limit_s
    while not any(int(path.name.removeprefix("step-")) > count for path in checkpoints(run)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, "no checkpoint in time"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_run_and_a_stopped_one_go_on_where_they_were(data, tmp_path, scalars):
    run, photos = tmp_path / "run", str(data[0])
    killed = started("alone", str(run), photos, "100000")
    wait_for(killed, run, 0)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    intact = json.loads((checkpoints(run)[-1] / "clock.json").read_text())["step"]

    told = started("alone", str(run), photos, "100000")
    wait_for(told, run, intact)
    told.send_signal(signal.SIGTERM)
    output = told.communicate(timeout=300)[0]
    assert told.returncode == 0, output
    newest = checkpoints(run)[-1]
    stopped = json.loads((newest / "clock.json").read_text())["step"]
    assert stopped > intact
    assert newest.name == f"step-{stopped:08d}"
    parts = load_file(run / "parts" / "unet.safetensors")
    assert all(tensor.isfinite().all() for tensor in parts.values())

    settings = LaunchSettings(data=data[:1], stage="fidelity", prior="tiny", changes=CHANGES, precision="no")
    launch("d3sr-small", settings, RunSettings(folder=run, steps=stopped + 2))
    assert checkpoints(run)[-1].name == f"step-{stopped + 2:08d}"
    assert (stopped + 2, "loss") in scalars(run)


@pytest.mark.slow
def test_a_lost_node_ends_the_other_and_what_is_left_goes_on(data, tmp_path, scalars):
    run, photos = tmp_path / "run", str(data[0])
    shared = two_of_a_run()
    nodes = [started("alone", str(run), photos, "100000", RANK=rank, LOCAL_RANK=rank, **shared) for rank in ("0", "1")]
    try:
        wait_for(nodes[0], run, 0)
        nodes[1].kill()
        output = nodes[0].communicate(timeout=300)[0]
        assert nodes[0].returncode not in (0, None), output
    finally:
        for node in nodes:
            node.kill()
            node.communicate()
    intact = json.loads((checkpoints(run)[-1] / "clock.json").read_text())["step"]
    settings = LaunchSettings(data=data[:1], stage="fidelity", prior="tiny", changes=CHANGES, precision="no")
    launch("d3sr-small", settings, RunSettings(folder=run, steps=intact + 2))
    assert checkpoints(run)[-1].name == f"step-{intact + 2:08d}"
    assert {(intact + 1, "loss"), (intact + 2, "loss")} <= scalars(run).keys()


@pytest.mark.slow
def test_two_processes_train_one_model_copied_or_in_shards(data, tmp_path, scalars):
    """What two learn is what one learns of the same crops, and copies stay equal.

    Shards, though they stopped on the way, give the same losses, figures and averaged parts.
    """
    shared = two_of_a_run()
    processes = [
        started("together", str(tmp_path), str(data[0]), RANK=rank, LOCAL_RANK=rank, **shared) for rank in ("0", "1")
    ]
    try:
        for process in processes:
            output = process.communicate(timeout=600)[0]
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()
    launched(tmp_path / "one", data[0], 4)
    one, two = (load_file(tmp_path / name / "parts" / "unet.safetensors") for name in ("one", "two"))
    alone, shared_loss = (scalars(tmp_path / name) for name in ("one", "two"))
    for step in (1, 2, 3):  # the whole batch's, not the first process's
        assert shared_loss[step, "loss"] == pytest.approx(alone[step, "loss"], rel=1e-4)
    for key, tensor in one.items():  # which three steps of a warming-up optimizer moved by about 1e-5
        assert (tensor - two[key]).abs().mean() < 1e-6, key

    for name in ("autoencoder", "discriminators", "patchy"):
        first, second = (torch.load(tmp_path / f"{name}-{rank}.pt") for rank in (0, 1))
        assert first.keys() == second.keys()
        for key, tensor in first.items():
            assert torch.equal(tensor, second[key]), key
        assert [path.name for path in checkpoints(tmp_path / name)] == ["step-00000003", "step-00000004"]
        assert not list((tmp_path / name / "checkpoints").glob(".*"))

    assert {(4, "loss"), (4, "validation/psnr")} <= scalars(tmp_path / "discriminators").keys()
    for name, part in (("discriminators", "unet"), ("patchy", "layers")):
        shards, copied = (scalars(tmp_path / run) for run in (f"{name}-shards", name))
        assert {key: shards[key] for key in copied} == pytest.approx(copied, rel=2e-3, abs=1e-5)
        mine, theirs = (load_file(tmp_path / run / "parts" / f"{part}.safetensors") for run in (f"{name}-shards", name))
        assert mine.keys() == theirs.keys()
        for key, tensor in mine.items():
            torch.testing.assert_close(tensor, theirs[key], atol=2e-5, rtol=1e-3, msg=key)
