"""The memory layout that torch can differentiate through."""

import torch
from torch import Tensor


def normalizable(features: Tensor) -> Tensor:
    """Return the features, laid out so that a GroupNorm of them can learn although they need no gradient themselves.

    On the CPU torch (2.13) ends the process in the backward pass of a GroupNorm whose input is channels_last and needs
    no gradient, as the features of frozen layers. Only such are copied.
    """
    needless = features.requires_grad or not torch.is_grad_enabled()
    return features if needless else features.contiguous()
