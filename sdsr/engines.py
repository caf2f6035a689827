"""Which runtime restores: torch, or ONNX Runtime by a model's graphs, which loads in a fraction of the time.

Both do the same, within 1 of 255, in float32. ONNX Runtime computes in that on every processor, torch and OpenVINO in
bfloat16 where it has that. Nothing here loads torch unless it is the one that restores.
"""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from sdsr.errors import InputError, ModelError
from sdsr.extras import version_of
from sdsr.graphs.description import Description, has_graphs, read_graphs
from sdsr.graphs.probing import PROBED_FROM, fastest, keep, machine, probe, recall
from sdsr.graphs.restorer import GraphRestorer
from sdsr.graphs.runtimes import Runtime, in_bfloat16, open_in, runtimes_here
from sdsr.images.floats import image_array
from sdsr.job import Credit
from sdsr.jobs import JobMaker
from sdsr.lean_imports import import_diffusers
from sdsr.method_folders import ASSETS
from sdsr.models import DEFAULT_MODEL, ModelFolder, find_model
from sdsr.prior.facts import Offload
from sdsr.request import Request
from sdsr.restoration.peak import BY_GRAPHS
from sdsr.restoration.plan import Plan
from sdsr.restoration.wishing import by_decoder, wished_plan

Engine = Literal["torch", "onnx", "openvino", "coreml", "directml"]
"""onnx is ONNX Runtime on the CPU; the last two are others of its providers."""

SMALL_PRIOR = ASSETS / "small-prior"
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd")
"""What is there where a driver of an accelerator is loaded that torch's builds for it compute on: NVIDIA's, AMD's."""


def choose_engine(found: ModelFolder, *, prior: str | None = None, device: str | None = None) -> Engine:
    """Return what restores where nothing else is said: graphs where there are some and the CPU is to compute.

    That is so on a device named "cpu", or where no other is named and torch isn't here or has no accelerator to take.
    """
    graphs = prior is None and has_graphs(found.folder)
    if not graphs or device not in (None, "cpu"):
        return "torch"
    return "torch" if device is None and _accelerated() else "onnx"


def load_model(
    model: str | Path = DEFAULT_MODEL,
    *,
    engine: Engine | None = None,
    prior: str | None = None,
    device: str | None = None,
    photos: int = 1,
    decoder: Path | None = None,
    offload: Offload | None = None,
) -> JobMaker:
    """Return a model, ready to restore, by this engine or the one that suits; `JobMaker.upscale` restores by it.

    `photos` are to be restored: other runtimes of graphs, where they are installed, pay off on many only.
    `decoder`: a tiny one in place of the prior's, which torch computes. `offload`: which weights are on an accelerator
    at once; as many as it has memory for, unless it is said.
    Raises InputError for what the engine can't do, ModelError for weights or graphs that are missing or damaged.
    """
    found = find_model(model)
    chosen = engine or ("torch" if decoder else choose_engine(found, prior=prior, device=device))
    if chosen == "torch":
        import_diffusers()
        import torch

        from sdsr.upscaling import Upscaler

        _check_device(device)
        load = partial(Upscaler.from_pretrained, model, prior=prior, device=device, decoder=decoder, offload=offload)
        upscaler = load()
        if upscaler.restorer.prior.dtype == torch.float32:
            return upscaler.maker
        return replace(upscaler.maker, load_float32=lambda: load(dtype=torch.float32).maker)
    if offload not in (None, "none"):
        raise InputError(
            f"offload (={offload}) moves weights to an accelerator, and graphs are computed by {chosen}; leave it out, "
            "or say --engine torch --device cuda."
        )
    if decoder is not None:
        raise InputError(
            f"decoder (={decoder}) can't be changed in exported graphs; leave it out, or say --engine torch."
        )
    if prior is not None:
        raise InputError(f"prior (={prior}) can't be changed in exported graphs; leave it out, or say --engine torch.")
    if device not in (None, "cpu"):
        raise InputError(f"device (={device}) must be cpu for exported graphs; leave it out, or say --engine torch.")
    return open_model(found, runtime=None if engine is None else chosen, photos=photos)


def open_model(found: ModelFolder, *, runtime: Runtime | None = "onnx", photos: int = 1) -> JobMaker:
    """Return a model by its graphs, in this runtime or, of None, in the one that is fastest with so many photos.

    Raises ModelError where it has none, or those of other weights, InputError for a runtime that isn't here.
    """
    description = read_graphs(found.folder)
    if description.weights_sha256 != found.weights_sha256 or [description.time] != found.description.get("times"):
        raise ModelError(
            f"graphs (={found.folder}) were exported of other weights than are there now; export them again with "
            "`sdsr export --onnx`, or restore with --engine torch."
        )
    runtime = runtime or choose_runtime(found.folder, description, photos)
    graphs = open_in(runtime, found.folder, description, (SMALL_PRIOR,))
    credit = Credit(model=description.model, weights_sha256=description.weights_sha256, own_decoder=description.guided)
    return JobMaker(
        restorer=GraphRestorer(graphs=graphs, description=description),
        image=image_array,
        plan=partial(_plan, description),
        facts=description.facts,
        allocations=BY_GRAPHS,
        canvas=description.canvas,
        color_fix=description.color_fix,
        adain_floor=description.adain_floor,
        credit=credit,
        draws_noise=False,
        load_float32=partial(open_model, found) if in_bfloat16(runtime) else None,
    )


def choose_runtime(folder: Path, description: Description, photos: int) -> Runtime:
    """Return the runtime that is done first with so many photos: by what is kept of a probe, or by one for many."""
    here = runtimes_here()
    if here == ("onnx",):
        return "onnx"
    key = machine(description, here)
    probed = recall(key)
    if probed is None:
        if photos < PROBED_FROM:
            return "onnx"
        probed = probe(
            {name: partial(open_in, name, folder, description, (SMALL_PRIOR,)) for name in here}, description
        )
        keep(key, probed)
    return fastest(probed, photos)


def _plan(description: Description, request: Request, photo: object = None) -> Plan:
    return wished_plan(description.plan, request, faithful=by_decoder if description.guided else None)


def _check_device(device: str | None) -> None:
    """Raise InputError for a device that torch can't compute on."""
    import torch

    try:
        if device is not None:
            torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"device (={device}) can't be used ({reason}); `sdsr doctor` lists those here.") from error


def _accelerated() -> bool:
    """Whether torch is here and may have an accelerator, told without loading it; its version names its build."""
    version = version_of("torch")
    if version is None:
        return False
    build = version.partition("+")[2]
    if build in ("cpu", "xpu"):
        return build == "xpu"
    return sys.platform == "darwin" or any(Path(driver).exists() for driver in _DRIVERS) or _windows_driver()


def _windows_driver() -> bool:
    from ctypes.util import find_library

    return sys.platform == "win32" and find_library("nvcuda") is not None
