"""LPIPS loads at full size from files in the published layouts, made here with random numbers."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from sdsr.errors import ModelError
from sdsr.losses.lpips import LpipsNetwork, Trunk, load_lpips
from sdsr.losses.perceptual import feature_distance

VGG16_LAYERS = {
    "slice1": [(0, 3, 64), (2, 64, 64)],
    "slice2": [(5, 64, 128), (7, 128, 128)],
    "slice3": [(10, 128, 256), (12, 256, 256), (14, 256, 256)],
    "slice4": [(17, 256, 512), (19, 512, 512), (21, 512, 512)],
    "slice5": [(24, 512, 512), (26, 512, 512), (28, 512, 512)],
}
WIDTHS = (64, 128, 256, 512, 512)


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    tensors = {}
    for name, layers in VGG16_LAYERS.items():
        for place, before, width in layers:
            tensors[f"net.{name}.{place}.weight"] = (
                torch.randn(width, before, 3, 3, generator=rng) / (4 * before) ** 0.5
            )
            tensors[f"net.{name}.{place}.bias"] = torch.randn(width, generator=rng) / 10
    for index, width in enumerate(WIDTHS):
        tensors[f"lin{index}.model.1.weight"] = torch.rand(1, width, 1, 1, generator=rng)
        tensors[f"lins.{index}.model.1.weight"] = tensors[f"lin{index}.model.1.weight"].clone()
    tensors["scaling_layer.shift"] = torch.tensor([-0.030, -0.088, -0.188]).reshape(1, 3, 1, 1)
    tensors["scaling_layer.scale"] = torch.tensor([0.458, 0.448, 0.450]).reshape(1, 3, 1, 1)
    return tensors


def by_hand(tensors: dict[str, torch.Tensor], image: torch.Tensor) -> list[torch.Tensor]:
    x = (2 * image - 1 - tensors["scaling_layer.shift"]) / tensors["scaling_layer.scale"]
    features = []
    for name, layers in VGG16_LAYERS.items():
        if name != "slice1":
            x = F.max_pool2d(x, 2)
        for place, _, _ in layers:
            x = F.conv2d(
                x, tensors[f"net.{name}.{place}.weight"], tensors[f"net.{name}.{place}.bias"], padding=1
            ).relu()
        features.append(x)
    return features


def test_a_complete_file_gives_the_distance_computed_by_hand(published, tmp_path):
    path = tmp_path / "lpips.safetensors"
    save_file(published, path)
    distance = load_lpips(path)
    x, y = torch.rand(2, 3, 32, 36), torch.rand(2, 3, 32, 36)
    weights = [published[f"lin{index}.model.1.weight"] for index in range(5)]
    expected = feature_distance(by_hand(published, x), by_hand(published, y), weights)
    torch.testing.assert_close(distance(x, y), expected)
    torch.testing.assert_close(distance(x, x), torch.zeros(2))


def test_a_file_without_the_trunk_is_refused(published, tmp_path):
    heads = tmp_path / "vgg.pth"
    torch.save({name: tensor for name, tensor in published.items() if name.startswith("lin")}, heads)
    with pytest.raises(ModelError, match=r"slice1\.0\.weight is missing"):
        load_lpips(heads)


def test_a_file_of_another_trunk_is_refused(published, tmp_path):
    path = tmp_path / "lpips.safetensors"
    save_file(published, path)
    with pytest.raises(ModelError, match=r"slice1\.0\.weight is \(64, 3, 3, 3\) instead of \(64, 4, 3, 3\)"):
        load_lpips(path, "latent_vgg16")


@pytest.mark.parametrize(
    ("trunk", "parameters", "sides"),
    [
        ("vgg16", 14_714_688, (64, 32, 16, 8, 4)),
        ("latent_vgg16", 14_715_264, (64, 64, 64, 64, 32)),
    ],
)
def test_sizes_of_the_trunks(trunk: Trunk, parameters, sides):
    with torch.device("meta"):
        network = LpipsNetwork(trunk)
        features = network(torch.rand(1, 4 if trunk == "latent_vgg16" else 3, 64, 64))
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert tuple(feature.shape[-1] for feature in features) == sides
    assert tuple(feature.shape[1] for feature in features) == WIDTHS


def test_unrestricted_pickles_are_refused(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"weight": Path("anything")}, path)
    with pytest.raises(ModelError, match="damaged, or not only tensors"):
        load_lpips(path)
