"""A prior from its name, on the device and in the precision that suit this machine."""

from pathlib import Path

import torch

from sdsr.digests import combined_sha256
from sdsr.prior.forked import begin_computing
from sdsr.prior.prior import Prior
from sdsr.prior.running import choose_device as choose_device
from sdsr.prior.running import choose_dtype as choose_dtype
from sdsr.prior.running import probe_for
from sdsr.prior.small_storage import is_small_prior, load_small_prior
from sdsr.prior.sources import SOURCES, locate, resolve, source_of, verify
from sdsr.prior.stable_diffusion import load_stable_diffusion, weight_digests
from sdsr.prior.tiny import tiny_prior

_FOR_TESTS = ("tiny", "tiny-flow")
SMALL_PRIOR = Path(__file__).parents[1] / "assets" / "small-prior"


def device_for(name: str | Path, device: torch.device | str | None = None) -> torch.device:
    """Return the device that a prior of this name is loaded for: what suits this machine, where none is given."""
    if device is not None:
        return torch.device(device)
    return torch.device("cpu") if name in _FOR_TESTS else choose_device()


def is_missing(name: str | Path) -> bool:
    """Whether a prior of this name is nowhere on this machine; raise InputError for a name that none has."""
    if name in ("small", *_FOR_TESTS) or Path(name).expanduser().is_dir():
        return False
    return locate(source_of(str(name))) is None


def load_prior(
    name: str | Path | Prior,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    on_host: bool = False,
) -> Prior:
    """Return the frozen prior of that name.

    `name`: "small" (embedded), "tiny" and "tiny-flow" (random, for tests; on the CPU in float32 unless told otherwise),
    a name of `sources.SOURCES`, a folder (of a small prior, or in diffusers' layout: Stable Diffusion 1.x and 2.x, or 3
    with its flow), or "owner/name" of the Hugging Face hub.
    Without `device` and `dtype`, what suits this machine (`running.py`) is taken; a large network's first time asks a
    probe of a second. `on_host`: it is loaded for that device, and its weights stay in the host's memory. A prior that
    is given is returned as it is.
    Raises InputError (also in a process forked from one that loaded a model), ModelError.
    """
    if isinstance(name, Prior):
        return name
    begin_computing(device)
    device = device_for(name, device)
    place = "cpu" if on_host else device
    if name == "tiny":
        return tiny_prior(dtype=dtype or torch.float32).to(place)
    if name == "tiny-flow":
        from sdsr.prior.tiny_flow import tiny_flow_prior

        return tiny_flow_prior(dtype=dtype or torch.float32).to(place)
    dtype = dtype or choose_dtype(device)
    if name == "small":
        return load_small_prior(SMALL_PRIOR, device=place, dtype=dtype)
    folder = resolve(name)
    if is_small_prior(folder):
        return load_small_prior(folder, name=folder.name, device=place, dtype=dtype)
    source = SOURCES.get(str(name))
    digests = weight_digests(folder)
    if source:
        verify(source, digests)
    load = load_stable_diffusion
    if (folder / "transformer").is_dir():
        from sdsr.prior.flow import load_flow  # a network that takes a while to import, and few need it

        load = load_flow
    sha256 = combined_sha256(digests.values())
    prior = load(folder, name=source.name if source else folder.name, sha256=sha256, dtype=dtype).to(place)
    probe_for(prior.network, device)
    return prior
