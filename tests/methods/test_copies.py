"""Recipes, and methods at work, can be copied and sent to other processes, and a copy stands on its own."""

import multiprocessing
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from sdsr.methods import METHODS
from sdsr.photos.photo import Photo
from sdsr.restoration.restorer import Restorer
from sdsr.training.recipes import RECIPES
from sdsr.upscaling import Request, Upscaler

ON_TINY = [name for name, recipe in METHODS.items() if recipe.prior == "small"] + ["d3sr", "hypir"]
COPIES: dict[str, Callable[[object], object]] = {
    "deepcopy": deepcopy,
    "pickle": lambda it: pickle.loads(pickle.dumps(it)),
}
PHOTO = Photo(pixels=np.random.default_rng(0).integers(0, 256, (14, 22, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_can_be_pickled(name: str) -> None:
    again = pickle.loads(pickle.dumps(RECIPES[name]))
    assert pickle.dumps(again) == pickle.dumps(pickle.loads(pickle.dumps(again)))
    assert [stage.name for stage in again.stages] == [stage.name for stage in RECIPES[name].stages]


def stirred(name: str) -> Upscaler:
    """The method on the tiny prior, where everything that it adds is heard."""
    recipe = METHODS[name]
    assert recipe.method is not None
    assert recipe.plan is not None
    restorer, rng = recipe.method.build("tiny"), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in restorer.parts.modules.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    return Upscaler(recipe.with_plan(replace(recipe.plan, times=recipe.plan.times[:2])), restorer)


def restored(upscaler: Upscaler) -> np.ndarray:
    return upscaler.upscale(PHOTO, Request(scale=2)).pixels


def change(restorer: Restorer) -> None:
    with torch.no_grad():
        for module in (restorer.prior.modules, restorer.prior.unet, restorer.parts.modules):
            for tensor in module.state_dict().values():
                tensor.mul_(0.5)


def in_worker(upscaler: Upscaler) -> tuple[int, np.ndarray]:
    return os.getpid(), restored(upscaler)


@pytest.mark.slow
def test_a_pool_of_spawned_processes_restores_alike() -> None:
    upscaler = stirred("stablesr-small")
    wanted = restored(upscaler)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        process, result = pool.submit(in_worker, upscaler).result(timeout=900)
    assert process != os.getpid()
    assert np.abs(result.astype(int) - wanted).max() <= 1


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_a_forked_process_says_so_instead_of_hanging() -> None:
    """In a process of its own, whose threads have worked before the fork; with one thread nothing is waited for."""
    condition = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=900)
    assert condition.returncode == 0, condition.stderr
    called, loaded, alone = condition.stdout.splitlines()
    for line in (called, loaded):
        assert re.match(
            r"InputError: process \(=\d+\) was forked from one \(=\d+\) in which a model was loaded, and would hang; "
            r'start workers with multiprocessing.get_context\("spawn"\)',
            line,
        )
    assert alone == "restored"


FORKED = """
import os, sys, warnings
import numpy as np, torch
from sdsr.errors import InputError
from sdsr.photos.photo import Photo
from sdsr.methods import METHODS
from sdsr.upscaling import Request, Upscaler

warnings.simplefilter("ignore")
torch.set_num_threads(2)
recipe, photo = METHODS["d3sr-small"], Photo(pixels=np.zeros((64, 64, 3), np.uint8))
upscaler = Upscaler(recipe, recipe.method.build("tiny"))
upscaler.upscale(photo, Request(scale=2))
for loads, threads in ((False, 2), (True, 2), (True, 1)):
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        continue
    torch.set_num_threads(threads)
    try:
        mine = Upscaler(recipe, recipe.method.build("tiny")) if loads else upscaler
        mine.upscale(photo, Request(scale=2))
        print("restored", flush=True)
    except InputError as error:
        print(f"InputError: {error}", flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("name", ON_TINY)
def test_a_copied_method_restores_alike_and_has_nothing_of_the_first(name: str, kind: str) -> None:
    upscaler = stirred(name)
    wanted = restored(upscaler)
    copied = COPIES[kind](upscaler)
    assert isinstance(copied, Upscaler)
    change(upscaler.restorer)
    assert np.array_equal(restored(copied), wanted)
    assert not np.array_equal(restored(upscaler), wanted)
