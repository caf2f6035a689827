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
from sdsr.prior.sources import SOURCES, resolve, verify
from sdsr.prior.stable_diffusion import load_stable_diffusion, weight_digests
from sdsr.prior.tiny import tiny_prior

SMALL_PRIOR = Path(__file__).parents[1] / "assets" / "small-prior"


def load_prior(
    name: str | Path | Prior, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> Prior:
    """Return the frozen prior of that name.

    `name`: "small" (embedded), "tiny" and "tiny-flow" (random, for tests; on the CPU in float32 unless told otherwise),
    a name of `sources.SOURCES`, a folder (of a small prior, or in diffusers' layout: Stable Diffusion 1.x and 2.x, or 3
    with its flow), or "owner/name" of the Hugging Face hub.
    Without `device` and `dtype`, what suits this machine (`running.py`) is taken; a large network's first time asks a
    probe of a second. A prior that is given is returned as it is.
    Raises InputError (also in a process forked from one that loaded a model), ModelError.
    """
    if isinstance(name, Prior):
        return name
    begin_computing(device)
    if name == "tiny":
        return tiny_prior(dtype=dtype or torch.float32).to(device or "cpu")
    if name == "tiny-flow":
        from sdsr.prior.tiny_flow import tiny_flow_prior

        return tiny_flow_prior(dtype=dtype or torch.float32).to(device or "cpu")
    device = choose_device() if device is None else torch.device(device)
    dtype = dtype or choose_dtype(device)
    if name == "small":
        return load_small_prior(SMALL_PRIOR, device=device, dtype=dtype)
    folder = resolve(name)
    if is_small_prior(folder):
        return load_small_prior(folder, name=folder.name, device=device, dtype=dtype)
    source = SOURCES.get(str(name))
    digests = weight_digests(folder)
    if source:
        verify(source, digests)
    load = load_stable_diffusion
    if (folder / "transformer").is_dir():
        from sdsr.prior.flow import load_flow  # a network that takes a while to import, and few need it

        load = load_flow
    sha256 = combined_sha256(digests.values())
    prior = load(folder, name=source.name if source else folder.name, sha256=sha256, dtype=dtype).to(device)
    probe_for(prior.network, device)
    return prior
