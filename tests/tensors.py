"""Random numbers, random weights and samples that tests of several rooms begin with."""

import torch
from torch import Tensor, nn

from sdsr.objectives.training_step import Sample


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stir(module: nn.Module, deviation: float = 0.1) -> None:
    """Move a network's weights away from where they began, so that all of it is felt."""
    rng = seeded()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(deviation * torch.randn(parameter.shape, generator=rng))


def pair(photo: Tensor) -> Sample:
    """Two photos of 64 px and their LQ, cut from the photo of the fixture."""
    hq = torch.cat([photo[..., :64, :64], photo[..., -64:, -64:]])
    return Sample(hq=hq, lq=nn.functional.avg_pool2d(hq, 4))
