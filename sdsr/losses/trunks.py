"""The convolution trunk of VGG16 in five stages, with the layer numbers of its published files."""

from collections.abc import Iterable, Mapping
from itertools import accumulate, pairwise

from torch import Tensor, nn

VGG16_CHANNELS = (64, 128, 256, 512, 512)

POOL_PLACES = (4, 9, 16, 23)
"""Where VGG16 halves the resolution: before each stage but the first."""


def outputs_of(stages: Iterable[nn.Module], x: Tensor) -> list[Tensor]:
    """Return what each of some stages makes of the one before's output, the first of `x`."""
    return list(accumulate(stages, lambda x, stage: stage(x), initial=x))[1:]


def vgg16_stages(pools: Mapping[int, nn.Module], in_channels: int = 3) -> list[nn.Sequential]:
    """The stages of VGG16 (arXiv:1409.1556, configuration D) up to relu1_2, relu2_2, relu3_3, relu4_3, relu5_3.

    `pools` puts a module at some of `POOL_PLACES`; where there is none the resolution stays.
    """
    stages = []
    place = 0
    for depth, (before, width) in zip((2, 2, 3, 3, 3), pairwise((in_channels, *VGG16_CHANNELS)), strict=True):
        stage = nn.Sequential()
        if place in POOL_PLACES:
            if place in pools:
                stage.add_module(str(place), pools[place])
            place += 1
        for index in range(depth):
            stage.add_module(str(place), nn.Conv2d(width if index else before, width, 3, padding=1))
            stage.add_module(str(place + 1), nn.ReLU())
            place += 2
        stages.append(stage)
    return stages


def renamed_trunk(classifier: Mapping[str, Tensor], stages: nn.ModuleDict) -> dict[str, Tensor]:
    """The trunk of an ImageNet classifier's file (`features.5.weight`) under names of `stages` (`slice2.5.weight`)."""
    layers = {name: f"features.{name.split('.', 1)[1]}" for name in stages.state_dict()}
    return {name: classifier[layer] for name, layer in layers.items() if layer in classifier}
