import pytest
import torch

from sdsr.embedded.prior_matching import PriorMatching, PriorStep
from sdsr.objectives.training_step import Sample
from sdsr.prior.tiny import tiny_prior

NONE = torch.zeros(2, dtype=torch.bool)


@pytest.fixture
def sample(photo) -> Sample:
    hq = torch.cat([photo[..., :64, :64], photo[..., :64, 64:]])
    return Sample(hq=hq, lq=torch.nn.functional.interpolate(hq, scale_factor=0.25, mode="area"))


@pytest.fixture
def training_step() -> PriorStep:
    return PriorMatching().training_step(tiny_prior(), None)


def test_gradients_reach_unet_prompts_null_and_image_encoder_and_nothing_else(training_step, sample):
    training_step.objective = PriorMatching(token_dropout=0.5, prompt_dropout=0.3, degraded_share=0.3)
    for seed in range(6):
        training_step(sample, torch.Generator().manual_seed(seed)).loss.backward()
    assert set(training_step.trainable_modules) == {"unet", "prompts", "image_encoder"}
    for part in training_step.trainable_modules.values():
        for name, parameter in part.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name
    assert training_step.trained["prompts"].table.grad.abs().sum((1, 2)).min() > 0
    for parameter in training_step.autoencoder.parameters():
        assert not parameter.requires_grad
        assert parameter.grad is None


def test_evidence_is_prompt_and_token_or_their_empty_forms(training_step, sample):
    prompts, encoder = training_step.trained["prompts"], training_step.trained["image_encoder"]
    first, second = torch.tensor([True, False]), torch.tensor([False, True])
    told = training_step.condition(sample.hq, first, second, NONE).prompt
    assert torch.equal(told, prompts(["degraded", ""], encoder(sample.hq)))
    withheld = training_step.condition(sample.hq, NONE, NONE, first).prompt
    assert torch.equal(withheld[0], prompts(["clean"])[0])
    assert torch.equal(withheld[1], prompts(["clean"], encoder(sample.hq)[1:])[0])


def test_the_same_generator_gives_the_same_loss(training_step, sample):
    losses = [training_step(sample, torch.Generator().manual_seed(seed)).loss for seed in (3, 3, 4)]
    assert losses[0] == losses[1] != losses[2]


def test_degraded_photos_are_what_the_prompt_says_they_are(training_step, sample, monkeypatch):
    training_step.objective = PriorMatching(degraded_share=1.0)
    shown = []
    encode = type(training_step.prior).encode
    monkeypatch.setattr(
        type(training_step.prior),
        "encode",
        lambda self, image, noise=None: shown.append(image) or encode(self, image, noise),
    )
    training_step(sample, torch.Generator().manual_seed(0))
    training_step(Sample(hq=sample.hq), torch.Generator().manual_seed(0))
    assert (shown[0] - sample.hq).abs().mean() > 0.01
    assert torch.equal(shown[1], sample.hq)


def test_a_prior_trained_for_a_few_steps_listens_to_token_and_prompt(training_step, sample):
    """As the published weights must, which tests/prior/test_small_weights.py asks of them."""
    trained = [parameter for part in training_step.trainable_modules.values() for parameter in part.parameters()]
    optimizer, losses = torch.optim.Adam(trained, lr=1e-3), []
    for step in range(25):
        loss = training_step(sample, torch.Generator().manual_seed(step % 3)).loss
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    prior = training_step.prior
    with torch.no_grad():
        latent = prior.encode(sample.hq)
        noisy = prior.schedule.noisy(latent, torch.randn_like(latent), 400)
        usual, degraded, tokenless = (
            prior.predict(noisy, 400, training_step.condition(sample.hq, degraded, NONE, withheld))
            for degraded, withheld in ((NONE, NONE), (~NONE, NONE), (NONE, ~NONE))
        )
    for other in (degraded, tokenless):
        assert (other - usual).norm() / usual.norm() > 0.01


def test_figures_and_previews(training_step, sample, rng):
    with torch.no_grad():
        figures, pictures = training_step.measure(sample, rng), training_step.pictures(sample, rng)
    assert set(figures) == {"noise_100", "noise_400", "noise_800"}
    assert pictures["photo"].shape == (2, 3, 64, 64)
    for name in ("sampled with its token", "sampled"):
        assert pictures[name].shape == (2, 3, 256, 256)
        assert pictures[name].isfinite().all()


def test_weighed_in_pixels_the_loss_is_another_and_the_measure_the_same(sample):
    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    plain, weighed = (PriorMatching(in_pixels=chosen).training_step(tiny_prior(), None) for chosen in (False, True))
    with torch.no_grad():
        assert plain(sample, seeded()).loss != weighed(sample, seeded()).loss
        assert plain.measure(sample, seeded()) == weighed.measure(sample, seeded())
