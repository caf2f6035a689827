"""A network of latents is taught by one of photos: what it learns, and what stays as it is."""

from functools import partial

import pytest
import torch
from safetensors.torch import save_file

from sdsr.errors import ModelError
from sdsr.losses.latent_perceptual import LatentPerceptual, LatentVgg16, load_latent_perceptual
from sdsr.losses.lpips import load_lpips
from sdsr.losses.perceptual import feature_distance
from sdsr.methods.invsr.latent_perceptual import LATENT_PERCEPTUAL, SMALL_LATENT_PERCEPTUAL, Ranked
from sdsr.methods.invsr.latent_ranking import LatentRanking
from sdsr.objectives.training_step import Sample
from tests.tensors import seeded


@pytest.fixture
def sample(photo) -> Sample:
    return Sample(hq=torch.cat([photo[..., :64, :64], photo[..., -64:, -64:]]))


def test_it_learns_what_it_is_taught(sample):
    torch.manual_seed(0)
    model = Ranked().build("tiny")
    training_step = LatentRanking().training_step(model, None)
    optimizer, losses = torch.optim.Adam(training_step.network.parameters(), lr=1e-3), []
    for _ in range(12):
        outcome = training_step(sample, seeded())
        losses.append(float(outcome.loss.detach()))
        optimizer.zero_grad()
        outcome.loss.backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]
    assert training_step(sample, seeded()).scalars["agreed"] > 0.6
    taught = {id(parameter) for parameter in training_step.network.parameters()}
    assert set(training_step.trainable_modules) == {"perceptual"}
    assert all(id(parameter) in taught for parameter in training_step.parameters())
    assert all(parameter.grad is None for parameter in model.teacher.parameters())
    assert all(parameter.grad is None for parameter in model.prior.modules.parameters())


def test_each_photo_is_ranked_by_itself(sample):
    training_step = LatentRanking(versions=3).training_step(Ranked().build("tiny"), None)
    degraded = training_step._degraded(sample.hq, seeded())
    assert degraded.shape == (2, 1 + 2 * 3, 3, 64, 64)
    taught = training_step._taught(sample.hq, degraded)
    alone = training_step._taught(sample.hq[1:], degraded[1:])
    torch.testing.assert_close(taught[1:], alone, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", [SMALL_LATENT_PERCEPTUAL.name, LATENT_PERCEPTUAL.name])
def test_its_file_is_read_back_as_a_distance(name, tmp_path):
    path, network = (
        tmp_path / "perceptual.safetensors",
        {"latent-perceptual": LatentVgg16}.get(name, partial(LatentPerceptual, 4))(),
    )
    save_file(network.state_dict(), path)
    x, y = torch.randn(2, 2, 4, 16, 16, generator=seeded())
    read = load_lpips(path, "latent_vgg16") if name == "latent-perceptual" else load_latent_perceptual(path).distance()
    with torch.no_grad():
        expected = feature_distance(network(x), network(y), network.weights)
    torch.testing.assert_close(read(x, y), expected)


def test_published_sizes_and_resolutions():
    with torch.device("meta"):
        network = LatentVgg16()
        maps = network(torch.empty(1, 4, 64, 64))
        assert sum(parameter.numel() for parameter in LatentPerceptual(32).parameters()) == 452_448
    linear = sum(weight.numel() for weight in network.weights)
    assert (sum(parameter.numel() for parameter in network.parameters()) - linear, linear) == (14_715_264, 1_472)
    assert [map_.shape[-1] for map_ in maps] == [64, 64, 64, 64, 32]


def test_it_begins_from_imagenets_filters_of_red(tmp_path):
    network, path = LatentVgg16(), tmp_path / "vgg16.safetensors"
    layers = {f"features.{name.split('.', 1)[1]}": tensor.clone() for name, tensor in network.net.state_dict().items()}
    red = layers["features.0.weight"][:, :3] = torch.randn(64, 3, 3, 3)
    layers["features.0.weight"] = red.contiguous()
    save_file({**layers, "classifier.0.weight": torch.ones(1)}, path)
    network.begin_from(path)
    first = network.net.state_dict()["slice1.0.weight"]
    assert all(torch.equal(first[:, channel], red[:, 0]) for channel in range(4))
    with pytest.raises(ModelError, match=r"missing|can't be read"):
        network.begin_from(tmp_path / "none.safetensors")
