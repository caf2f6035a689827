"""Amounts of memory, and refusing before decoding what would not fit."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from sdsr.batch.memory import predicted, within_memory
from sdsr.batch.restoring import restore
from sdsr.batch.settings import Settings
from sdsr.errors import LimitError
from sdsr.job import Job
from sdsr.photos.files import Header, Photo
from sdsr.prior.small import SmallLatents
from sdsr.prior.unet import UNetBackbone
from sdsr.restoration.peak import KEPT_BYTES, MARGIN
from sdsr.upscaling import Request, Upscaler

HEADER = Header(format="JPEG", width=4000, height=3000, bits=8, gray=False, alpha=False)
SIZE = (12000, 16000)


def free(monkeypatch: pytest.MonkeyPatch, amount: int) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=amount))


def test_a_result_too_large_for_what_is_free_is_refused(upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 2 * 10**9)
    with pytest.raises(LimitError, match=r"output size \(=16000x12000\) needs \d+ MiB, and 1907 MiB may be used"):
        within_memory(upscaler.maker, HEADER, SIZE, Request())


def test_a_budget_counts_what_is_held_already(upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 10**12)
    with pytest.raises(LimitError, match="--memory"):
        within_memory(upscaler.maker, HEADER, SIZE, Request(memory_bytes=10**9))
    small = within_memory(upscaler.maker, HEADER, (64, 64), Request(memory_bytes=10**10))
    assert small.memory_bytes is not None
    assert small.memory_bytes <= 10**10 / MARGIN - KEPT_BYTES


def test_decoding_by_a_large_autoencoder_counts(upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stable Diffusion's needs above 3 KB for each pixel of a part."""
    free(monkeypatch, 4 * 10**9)
    assert within_memory(upscaler.maker, HEADER, (1024, 1024), Request()).memory_bytes
    monkeypatch.setattr(SmallLatents, "bytes_per_px", 4096)
    with pytest.raises(LimitError, match=r"output size \(=1024x1024\) needs \d+ MiB"):
        within_memory(upscaler.maker, HEADER, (1024, 1024), Request())


def test_windows_shrink_aloud_when_little_is_free(
    upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    header = Header(format="PNG", width=500, height=500, bits=8, gray=False, alpha=False)
    monkeypatch.setattr(UNetBackbone, "bytes_per_cell", 64 * 1000)  # so that windows are what counts
    peak = predicted(upscaler.maker, header, (2000, 2000))
    free(monkeypatch, round(KEPT_BYTES + MARGIN * (peak.held + peak.decoding)))
    with caplog.at_level(logging.WARNING):
        less = within_memory(upscaler.maker, header, (2000, 2000), Request())
    assert less.memory_bytes is not None
    assert upscaler.maker.windowed((2000, 2000), less.memory_bytes).window_px < 512
    assert "smaller windows" in caplog.text
    free(monkeypatch, 10**11)
    assert upscaler.maker.windowed(
        (2000, 2000), within_memory(upscaler.maker, header, (2000, 2000), Request()).memory_bytes
    ) == (upscaler.maker.windowed((2000, 2000), None))


def test_what_kernels_need_beside_is_none_of_the_windows(upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UNetBackbone, "bytes_per_cell", 64 * 10**6)  # so that windows take all that there is
    free(monkeypatch, 10**11)
    plain = upscaler.maker
    needing = replace(plain, allocations=replace(plain.allocations, window_workspace_bytes=10**9))
    found = [within_memory(maker, HEADER, SIZE, Request()).memory_bytes for maker in (plain, needing)]
    assert found[0] is not None
    assert found[1] == found[0] - 10**9
    free(monkeypatch, round(KEPT_BYTES + MARGIN * (plain.least_window_bytes + 10**9)))
    with pytest.raises(LimitError, match="output size"):
        within_memory(needing, HEADER, (64, 64), Request())


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError(), RuntimeError("can't allocate memory: ...")])
def test_when_memory_runs_out_smaller_windows_are_tried(
    upscaler: Upscaler, tree: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    tried: list[int] = []

    def run(self: Job) -> Photo:
        tried.append(self.request.memory_bytes or 0)
        if len(tried) < 2:
            raise error
        return self.photo

    monkeypatch.setattr(Job, "run", run)
    restore(tree / "a.png", upscaler.maker, Settings(), format=None)
    assert len(tried) == 2
    assert tried[1] < tried[0]


def test_in_the_end_it_is_an_error_and_a_bug_is_none_of_it(
    upscaler: Upscaler, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: BaseException) -> Callable[..., Photo]:
        def run(*_: object, **__: object) -> Photo:
            raise error

        return run

    monkeypatch.setattr(Job, "run", fail(MemoryError()))
    with pytest.raises(LimitError, match="memory ran out"):
        restore(tree / "a.png", upscaler.maker, Settings(), format=None)
    monkeypatch.setattr(Job, "run", fail(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        restore(tree / "a.png", upscaler.maker, Settings(), format=None)
