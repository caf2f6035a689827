"""Latents that a restorer makes of training pairs, kept while what makes them doesn't learn."""

from collections.abc import Callable

import torch

from sdsr.diffusion.noise import CanvasNoise
from sdsr.objectives.training_step import Sample
from sdsr.tensors import Latent


class RestoredLatents:
    """Latents of pairs, each made when it is first asked for: a function of the pair's number and of nothing else.

    So a resumed run, which begins with none, goes on as it would have. Samples are kept as a whole, in `dtype`; beyond
    `most` the oldest go, and are made again if they are asked for.
    """

    def __init__(
        self,
        restore: Callable[[Sample, CanvasNoise], Latent],
        *,
        most: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.restore = restore
        self.most = most
        self.dtype = dtype
        self._kept: dict[tuple[int, ...], Latent] = {}

    def of(self, sample: Sample) -> Latent:
        """Return the latents of a numbered sample, float32, without gradients."""
        assert sample.numbers is not None, "only numbered samples are known again"
        if sample.numbers not in self._kept:
            if len(self._kept) == self.most:
                del self._kept[next(iter(self._kept))]
            made = self.restore(sample, CanvasNoise(seeds=sample.numbers))
            self._kept[sample.numbers] = made.detach().to(self.dtype, copy=True)  # inference's own has no gradients
        return self._kept[sample.numbers].float()
