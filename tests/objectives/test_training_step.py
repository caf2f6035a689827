"""What a training step tells: numbers, read at once."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sdsr.objectives.training_step import numbers


class Reads(TorchDispatchMode):
    """Counts the tensors that become numbers one by one."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_scalars_become_numbers_in_order_and_at_once():
    scalars = {"loss": torch.tensor(0.5, requires_grad=True), "weight": 2.0, "gap": torch.tensor([1.5]).bfloat16()}
    with Reads() as reads:
        read = numbers(scalars)
    assert list(read.items()) == [("loss", 0.5), ("weight", 2.0), ("gap", 1.5)]
    assert all(type(value) is float for value in read.values())
    assert reads.count == 0
    assert numbers({"gap": 1.0}) == {"gap": 1.0}
