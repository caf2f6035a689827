import torch

from sdsr.prior.condition import Condition
from sdsr.prior.tiny import tiny_prior


def test_same_seed_gives_the_same_prior_and_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    first, second, other = tiny_prior(3), tiny_prior(3), tiny_prior(4)
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.sha256 == second.sha256 != other.sha256
    for mine, theirs in zip(first.modules.state_dict().values(), second.modules.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


def test_autoencoder_keeps_flat_and_smooth_colors():
    prior = tiny_prior()
    flat = torch.tensor([0.9, 0.2, 0.4]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    ramp = torch.linspace(0.2, 0.8, 64).expand(1, 3, 64, 64)
    for image in (flat, ramp):
        assert (prior.decode(prior.encode(image)) - image).abs().max() < 0.08


def test_every_part_listens():
    prior = tiny_prior()
    image = torch.rand(2, 3, 64, 48)
    latent = prior.encode(image)
    assert latent.shape == (2, 4, 8, 6)
    one, two = (prior.predict(latent, 500, Condition(prompt=prior.embed(text))) for text in ("clean", "degraded"))
    assert one.shape == latent.shape
    assert not torch.allclose(one, two)
    assert prior.image is not None
    assert not torch.allclose(prior.image(image), prior.image(1 - image))
    assert not any(parameter.requires_grad for parameter in prior.modules.parameters())
