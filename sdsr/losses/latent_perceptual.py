"""Networks that see latents, after InvSR's latent LPIPS (arXiv:2412.09013): its own form, and a light one.

InvSR's is VGG-16 with its first three poolings left out, so that the latent's few cells last through four stages. The
light one does the same at a fraction of the size, for small priors.
"""

from pathlib import Path

from safetensors import safe_open
from torch import Tensor, nn

from sdsr.losses.light_trunk import LightTrunk
from sdsr.losses.lpips import LpipsNetwork
from sdsr.losses.trunks import VGG16_CHANNELS, outputs_of, renamed_trunk
from sdsr.prior.weight_files import damage_told, fill, read_tensors
from sdsr.tensors import Float

WIDTHS = (64, 96, 128)
_FIRST = "stages.0.0.weight"


class LatentPerceptual(LightTrunk):
    """Three stages over latents as they are, the last at half the size; 452,448 parameters for 32 channels."""

    def __init__(self, channels: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__(channels, widths, halved={len(widths) - 1})


def is_small(path: Path) -> bool:
    """Whether a file holds a `LatentPerceptual`; ModelError where it can't be read."""
    if path.suffix != ".safetensors":
        return False
    with damage_told(path, "give the path of the file."), safe_open(path, "pt") as file:
        return _FIRST in file.keys()  # noqa: SIM118  (it is no dict)


def load_latent_perceptual(path: Path) -> LatentPerceptual:
    """The frozen network in the safetensors file `path`; ModelError if it is missing or of another shape."""
    tensors = read_tensors(path)
    network = LatentPerceptual(tensors[_FIRST].shape[1])
    fill(network, tensors, path)
    return network.eval().requires_grad_(False)


class LatentVgg16(nn.Module):
    """InvSR's own form, to be trained: VGG-16 on four channels, whose state `load_lpips(path, "latent_vgg16")` reads.

    `begin_from` puts an ImageNet classifier's convolutions into it; the first's filters of red serve all channels.
    """

    channels = 4

    def __init__(self) -> None:
        super().__init__()
        self.net = LpipsNetwork("latent_vgg16").net
        self.names = [f"lin{index}" for index in range(len(VGG16_CHANNELS))]
        for name, width in zip(self.names, VGG16_CHANNELS, strict=True):
            linear = nn.Conv2d(width, 1, 1, bias=False)
            nn.init.ones_(linear.weight)
            self.add_module(name, nn.ModuleDict({"model": nn.ModuleDict({"1": linear})}))

    @property
    def weights(self) -> list[Tensor]:
        """Channel weights of the distance, one vector per stage; LPIPS keeps them from being negative."""
        return [self.get_parameter(f"{name}.model.1.weight").flatten().clamp(min=0) for name in self.names]

    def forward(self, latent: Float[Tensor, "b c h w"]) -> list[Tensor]:
        return outputs_of(self.net.values(), latent)

    def begin_from(self, classifier: Path) -> None:
        """Raises ModelError where the file is missing or no VGG-16."""
        trunk = renamed_trunk(read_tensors(classifier), self.net)
        first = "slice1.0.weight"
        if first in trunk:
            trunk[first] = trunk[first][:, :1].repeat(1, self.channels, 1, 1)
        fill(self.net, trunk, classifier)
