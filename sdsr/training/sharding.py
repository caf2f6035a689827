"""What is trained in shards over the processes of a run: FSDP2, `torch.distributed.fsdp.fully_shard`.

Gradients, optimizer state and averages stay in shards; a step gathers the parameters whole and drops them after its
backward pass. One group for the whole training step, since an objective calls its parts' methods (encode, decode) and
not only their forward passes, around which alone FSDP gathers finer groups.

Deviation: accelerate's own FSDP is left out. It runs on accelerators only, so that no test on a CPU could see it, and
it prepares one model, where a stage with a discriminator has two.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from sdsr.errors import InputError

STATE = "sharded.pt"
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
_SCATTERED = StateDictOptions(full_state_dict=True)


def shard(module: nn.Module, device: torch.device) -> None:
    """Leave each process a share of every parameter, as the first process has them; buffers stay whole."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.contiguous()  # fully_shard takes no channels_last
        dist.broadcast(tensor.data, 0)
    fully_shard(module, mesh=init_device_mesh(device.type, (dist.get_world_size(),)))


def reaching_all(loss: Tensor, parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return the loss, with a gradient of zero to each parameter that it leaves out.

    FSDP exchanges what has a gradient; where a process used other parameters than the rest, they would not agree on it.
    """
    return loss + sum(0 * parameter.flatten()[0] for parameter in parameters if parameter.numel())


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Parameters whole, to be read; every process takes part. Nothing changes where they are not in shards."""
    if not isinstance(module, FSDPModule):
        yield
        return
    module.unshard()
    try:
        yield
    finally:
        module.reshard()


def own_share(parameter: nn.Parameter) -> nn.Parameter:
    """Return what this process holds of a parameter, with the same memory; the parameter itself if it is whole."""
    if not isinstance(parameter, DTensor):
        return parameter
    return nn.Parameter(cast(DTensor, parameter.detach()).to_local(), parameter.requires_grad)


def rejoined(share: Tensor, parameter: nn.Parameter) -> Tensor:
    """Return the whole of which each process has a share, cut as the parameter is; every process takes part."""
    if not isinstance(parameter, DTensor):
        return share
    mesh = parameter.device_mesh
    placements = parameter.placements
    return DTensor.from_local(share, mesh, placements, shape=parameter.shape, stride=parameter.stride()).full_tensor()


def share_of(tensor: Tensor, parameter: nn.Parameter) -> Tensor:
    """Return this process's share of a whole tensor, cut as the parameter is; every process takes part."""
    if not isinstance(parameter, DTensor):
        return tensor
    return distribute_tensor(tensor, parameter.device_mesh, parameter.placements).to_local()


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor gathered from its shards; every process takes part."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_states(parts: Mapping[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    return {name: {key: whole(value) for key, value in part.state_dict().items()} for name, part in parts.items()}


def save_shards(module: nn.Module, optimizer: torch.optim.Optimizer, folder: Path, *, main: bool) -> None:
    """Write parameters and optimizer state, gathered, so that any number of processes can go on from them."""
    state, optimizer_state = get_state_dict(module, optimizer, options=_WHOLE)
    if main:
        torch.save({"module": state, "optimizer": optimizer_state}, folder / STATE)


def check_sharded(checkpoint: Path, wanted: bool) -> None:
    """Raise InputError where a checkpoint is of a run in shards and none is wanted, or the other way round."""
    if (checkpoint / STATE).exists() != wanted:
        begun, remedy = ("without", "leave it out") if wanted else ("with", "give it")
        raise InputError(f"run (={checkpoint.parents[1]}) was begun {begun} --shard; {remedy}, or name another --run.")


def load_shards(module: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    saved = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    set_state_dict(
        module,
        optimizer,
        model_state_dict=saved["module"],
        optim_state_dict=saved["optimizer"],
        options=_SCATTERED,
    )
