"""Where an adapter keeps what it adds to a network: under the network's own names, so that its state has them."""

from torch import nn


def place(module: nn.Module, root: nn.Module, path: str) -> None:
    """Register `module` at the dotted `path` below `root`, in empty modules where there are none."""
    *parents, last = path.split(".")
    for name in parents:
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    root.add_module(last, module)
