"""A projected discriminator (arXiv:2111.01007): frozen ImageNet features, mixed at random, judged by small heads.

What it can see is fixed by features that know objects and textures, so it tells real from restored after a few hundred
steps, where a discriminator from scratch takes tens of thousands.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sdsr.losses.efficientnet import EfficientNetLite
from sdsr.tensors import Image

MIXED_CHANNELS = (32, 64, 64, 128)
"""Of the four mixed maps, fine to coarse."""

_STAGES = 4
_SLOPE = 0.2


class ProjectedDiscriminator(nn.Module):
    """Logits per place at strides 2, 4, 8 and 16, high for real, of images in [0, 1].

    `network` gives features, frozen. Cross-channel and cross-scale mixing (Sec. 3.2 of the paper) are random 1x1
    convolutions that never learn: each map is mixed over its channels, then the coarser mixed map, enlarged, is added,
    and the sum mixed over again. The heads learn; they are spectrally normalised.

    Deviation: the paper's heads shrink their map to 4x4 for 256 px; here each place has a logit of its own, as in
    PatchGAN, so that any size of crop is judged alike and fine texture is judged where it is.
    """

    def __init__(self, network: EfficientNetLite, *, seed: int = 0) -> None:
        super().__init__()
        self.network = network
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            channels = network.channels[1:]
            self.across = nn.ModuleList(
                nn.Conv2d(before, after, 1) for before, after in zip(channels, MIXED_CHANNELS, strict=True)
            )
            coarser = (*MIXED_CHANNELS[1:], MIXED_CHANNELS[-1])
            self.down = nn.ModuleList(
                nn.Conv2d(before, after, 1) for before, after in zip(coarser, MIXED_CHANNELS, strict=True)
            )
            self.mixed = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for width in MIXED_CHANNELS)
            self.heads = nn.ModuleList(_head(width) for width in MIXED_CHANNELS)
            for layer in (*self.across, *self.down, *self.mixed):
                assert isinstance(layer, nn.Conv2d), "mixing is linear"
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
                layer.requires_grad_(False)

    def forward(self, image: Image) -> list[Tensor]:
        return self.judge(self.network(image))

    def judge(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the logits of an image whose features, all that the network gives, are known."""
        return [head(mixed) for head, mixed in zip(self.heads, self._mixed(features), strict=True)]

    def _mixed(self, features: Sequence[Tensor]) -> list[Tensor]:
        features = features[1 : 1 + _STAGES]
        mixed: list[Tensor] = []
        for index in reversed(range(_STAGES)):
            x = self.across[index](features[index])
            if mixed:
                larger = F.interpolate(self.down[index](mixed[-1]), size=x.shape[-2:], mode="bilinear")
                x = (x + larger) * 0.5**0.5
            mixed.append(self.mixed[index](x))
        return mixed[::-1]


def _head(width: int) -> nn.Sequential:
    return nn.Sequential(
        spectral_norm(nn.Conv2d(width, 64, 3, padding=1)),
        nn.LeakyReLU(_SLOPE),
        spectral_norm(nn.Conv2d(64, 64, 3, padding=1)),
        nn.LeakyReLU(_SLOPE),
        spectral_norm(nn.Conv2d(64, 1, 1)),
    )
