"""Group normalisation with given statistics, so that windows of one picture don't differ in tone.

A group's mean and variance are taken over everything that a layer sees. Windows that are normalised each by itself
therefore get other tones than their neighbors; with the statistics of one picture, each cell is treated alike wherever
the windows lie. Both contexts put hooks on the layers and take them off again, so that a model is afterwards what it
was; meanwhile it belongs to one thread.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdsr.prior.posterior import Picture
from sdsr.tensors import Float, Image, Latent, Region

Statistics = dict[nn.GroupNorm, tuple[Tensor, Tensor]]
"""The mean and the biased variance, (b, groups) each, of what a layer normalises."""

PATCH_CELLS = 16
"""The side of a mosaic's patches."""


@contextmanager
def recorded(model: nn.Module) -> Iterator[Statistics]:
    """Note the statistics of all of a model's group normalisations while it runs; the last run counts."""
    statistics: Statistics = {}

    def note(norm: nn.GroupNorm, inputs: tuple[Tensor]) -> None:
        groups = inputs[0].detach().float().reshape(len(inputs[0]), norm.num_groups, -1)
        variance, mean = torch.var_mean(groups, dim=-1, correction=0)
        statistics[norm] = mean, variance

    with ExitStack() as hooks:
        for norm in model.modules():
            if isinstance(norm, nn.GroupNorm):
                hooks.callback(norm.register_forward_pre_hook(note).remove)
        yield statistics


@contextmanager
def imposed(statistics: Statistics) -> Iterator[None]:
    """Let the layers normalise with these statistics, whatever they see, in batches as large as the recorded one."""

    def normalize(norm: nn.GroupNorm, inputs: tuple[Tensor], _: Tensor) -> Tensor:
        (x,) = inputs
        batch, channels = x.shape[:2]
        mean, variance = (
            value.repeat_interleave(channels // norm.num_groups, dim=1).flatten() for value in statistics[norm]
        )
        stacked = x.reshape(1, batch * channels, *x.shape[2:])
        weight = norm.weight.repeat(batch)
        bias = norm.bias.repeat(batch)
        return F.batch_norm(stacked, mean, variance, weight, bias, eps=norm.eps).view_as(x)

    with ExitStack() as hooks:
        for norm in statistics:
            hooks.callback(norm.register_forward_hook(normalize).remove)
        yield


def mosaic(latent: Latent, side: int, patch: int = PATCH_CELLS) -> Float[Tensor, "b c _ _"]:
    """Return patches spread evenly over a latent, side by side: at most `side` cells high and wide.

    A side that is short enough is kept as it is. Patches keep the detail whose contrast the statistics depend on; a
    smaller copy of the latent would have lost it.
    """
    rows, columns = (_spread(length, side, patch).to(latent.device) for length in latent.shape[-2:])
    return latent[..., rows, :][..., columns]


def mosaic_of_picture(
    picture: Picture, size: tuple[int, int], side: int, factor: int, patch: int = PATCH_CELLS
) -> Image:
    """Return the patches of a picture that belong to those of a latent's mosaic; `size` is the latent's, in cells."""
    rows, columns = (_runs(length, side, patch) for length in size)
    lines = []
    for top, height in rows:
        cells = (Region(top=top, left=left, height=height, width=width) for left, width in columns)
        lines.append(torch.cat([picture(each.scaled(factor)) for each in cells], dim=-1))
    return torch.cat(lines, dim=-2)


def _runs(length: int, most: int, patch: int) -> list[tuple[int, int]]:
    """Return the first cell and the number of cells of each patch of a mosaic along a side."""
    chosen = _spread(length, most, patch)
    if len(chosen) == length:
        return [(0, length)]
    return [(int(first), patch) for first in chosen[::patch]]


def _spread(length: int, most: int, patch: int) -> Tensor:
    """Return the cells of as many patches as fit in `most`, from the first cell to the last; all cells if they fit."""
    if length <= most:
        return torch.arange(length)
    starts = torch.linspace(0, length - patch, most // patch).round().long()
    return (starts[:, None] + torch.arange(patch)).flatten()
