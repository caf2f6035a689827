"""Random weights in published architectures, to time them: signals keep about their size in each layer."""

import hashlib
from dataclasses import replace

import torch
from torch import Tensor, nn

from sdsr.prior.prior import Prior
from sdsr.prior.running import lay_out
from sdsr.prior.shapes import shape_prior
from sdsr.prior.stable_diffusion import stored_in


def random_prior(name: str, *, device: torch.device, dtype: torch.dtype, image_encoder: bool = False) -> Prior:
    """Return a prior of one of `shapes.SHAPES` with random weights, on a device.

    They are made in `dtype` directly (normalisation in float32, as in a loaded prior), so that it needs no more memory
    than it keeps.
    """
    prior = shape_prior(name, image_encoder=image_encoder)
    store(prior.modules, dtype)
    randomize(prior.modules, device, torch.Generator(device).manual_seed(0))
    for network in prior.modules.values():
        lay_out(network, device)
    return replace(prior, dtype=dtype, sha256=hashlib.sha256(f"{name}, random".encode()).hexdigest())


def store(module: nn.Module, dtype: torch.dtype) -> None:
    """Store a module's parameters in `dtype`, those of normalisation in float32, which autocast mixes with either."""
    for layer in module.modules():
        wanted = stored_in(layer, dtype)
        for parameter in layer.parameters(recurse=False):
            parameter.data = parameter.data.to(wanted)


def randomize(module: nn.Module, device: torch.device | str, rng: torch.Generator) -> None:
    """Put random weights in place of a module's, which may be on "meta".

    Weights are uniform with a variance of 1 / inputs, those of normalisation one, biases zero.
    """
    tensors = {name: _random(parameter, name, device, rng) for name, parameter in module.named_parameters()}
    module.load_state_dict(tensors, assign=True, strict=False)  # buffers stay


def _random(like: Tensor, name: str, device: torch.device | str, rng: torch.Generator) -> Tensor:
    if name.endswith("bias"):
        return torch.zeros(like.shape, dtype=like.dtype, device=device)
    if like.ndim == 1:
        return torch.ones(like.shape, dtype=like.dtype, device=device)
    bound = (3 / like[0].numel()) ** 0.5
    return torch.empty(like.shape, dtype=like.dtype, device=device).uniform_(-bound, bound, generator=rng)
