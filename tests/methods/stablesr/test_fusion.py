"""Fusion: what learns and on what, the critic's weight as published and as meant, what validation tells."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from sdsr.critics.patch import PatchCritic
from sdsr.methods.stablesr.fusion import Fusion, FusionLearner, PatchJudge
from sdsr.methods.stablesr.recipes import STABLESR_SMALL
from sdsr.objectives.learner import Sample
from sdsr.restoration.restorer import Restorer

OBJECTIVE = Fusion(sampling_steps=2)


def stir(module: nn.Module, deviation: float) -> None:
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(deviation * torch.randn(parameter.shape, generator=rng))


@pytest.fixture
def system() -> Restorer:
    """The small method on the tiny prior, whose decoder and fusion are random, so that both are felt."""
    torch.manual_seed(0)
    restorer = STABLESR_SMALL.stage("fusion").build("tiny")
    schedule = restorer.prior.schedule.predicting("v_prediction")
    restorer = replace(restorer, prior=restorer.prior.adapted(schedule=schedule))
    stir(restorer.prior.modules["autoencoder"].get_submodule("decoder"), 0.1)
    stir(restorer.parts.modules["feature_wrapping"], 0.05)
    return restorer


@pytest.fixture
def pair(photo) -> Sample:
    hq = torch.cat([photo[..., :64, :64], photo[..., -64:, -64:]])
    return Sample(hq=hq, lq=torch.nn.functional.avg_pool2d(hq, 4))


def judge() -> PatchJudge:
    torch.manual_seed(1)
    return PatchJudge(PatchCritic((4, 8, 8, 8)))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def step(learner: FusionLearner, sample: Sample, progress: float = 1.0):
    outcome = learner(sample, seeded(), progress)
    outcome.loss.backward()
    return outcome


def test_only_the_fusion_learns_and_all_parts_are_kept(system, pair):
    learner = FusionLearner(system, OBJECTIVE, judge())
    outcome = step(learner, pair)
    assert set(learner.parts) == {"time_aware_encoder", "modulation", "feature_wrapping"}
    learning = {name for name, p in learner.named_parameters() if p.requires_grad}
    assert {name.split(".")[1] for name in learning} == {"feature_wrapping"}
    assert all(p.grad is not None and p.grad.any() for _, p in learner.named_parameters() if p.requires_grad)
    assert not any(p.requires_grad for p in system.prior.modules.parameters())
    assert outcome.judged is not None
    assert torch.equal(outcome.judged.real["image"], pair.hq)


def test_the_critic_is_heard_when_its_time_has_come_and_learns_before(system, pair):
    critic = judge()
    learner = FusionLearner(system, replace(OBJECTIVE, critics_from=0.3), critic)
    before, after = learner(pair, seeded(), 0.2), learner(pair, seeded(), 0.3)
    assert "adversarial" not in before.scalars
    expected = before.loss + 0.025 * after.scalars["adversarial"]
    torch.testing.assert_close(after.loss, expected)
    after.loss.backward()
    assert all(p.requires_grad and p.grad is None for p in critic.parameters())
    critic(before.judged.detached(), seeded()).loss.backward()
    assert all(p.grad is not None for p in critic.parameters())


def test_the_ratio_lets_the_critic_weigh_its_share_at_the_last_layer(system, pair):
    """Gradients of the critic's share alone are 0.025 of the other terms' norm there."""

    def gradient(critic: PatchJudge | None, objective: Fusion) -> torch.Tensor:
        last = system.parts.modules.get_parameter("feature_wrapping.factor_2.out.conv2.weight")
        last.grad = None
        step(FusionLearner(system, objective, critic), pair)
        assert last.grad is not None
        return last.grad

    terms = gradient(None, OBJECTIVE)
    share = gradient(judge(), replace(OBJECTIVE, balance="ratio")) - terms
    constant = gradient(judge(), OBJECTIVE) - terms
    torch.testing.assert_close(share.norm() / terms.norm(), torch.tensor(0.025), rtol=0.1, atol=0)
    assert abs(float(constant.norm() / share.norm()) - 1) > 0.2


def test_restored_batches_are_used_again(system, pair, monkeypatch):
    """One step in `uses` restores; the others decode what earlier ones restored, with its own photos."""
    learner = FusionLearner(system, replace(OBJECTIVE, uses=3), None)
    restored, restore = [], learner._restored
    monkeypatch.setattr(learner, "_restored", lambda *given: restored.append(restore(*given)) or restored[-1])
    others = [Sample(hq=pair.hq * share, lq=pair.lq * share) for share in (1, 0.9, 0.8, 0.7, 0.6, 0.5)]
    with torch.no_grad():
        taken = [learner._stocked(sample, seeded()) for sample in others]
    assert len(restored) == 2
    assert [taken[index][0] is others[index] for index in range(6)] == [True, False, False, True, False, False]
    for sample, latent in taken:
        assert any(latent is made and sample is others[3 * index] for index, made in enumerate(restored))


def test_validation_decodes_the_same_latents_with_three_fidelities(system, pair):
    learner = FusionLearner(system, OBJECTIVE, None)
    with torch.no_grad():
        figures, columns = learner.measure(pair, seeded()), learner.pictures(pair, seeded())
        stock = system.prior.decode(learner._restored(pair, seeded()).clean).clamp(0, 1)
    assert set(figures) == {f"{name}_w{w}" for name in ("psnr", "detail") for w in ("0", "0.5", "1")}
    assert list(columns) == ["bicubic", "fidelity 0", "fidelity 0.5", "fidelity 1", "photo"]
    assert len({figures[f"psnr_w{w}"] for w in ("0", "0.5", "1")}) == 3
    assert torch.equal(columns["fidelity 0"], stock)


def test_pictures_can_be_compared_in_the_colors_of_the_lq_photo(system, pair):
    """As the wavelet fix delivers them: far from the decoder's own colors, and with gradients to what learns."""
    own, fixed = (FusionLearner(system, replace(OBJECTIVE, corrected=each), judge()) for each in (False, True))
    colors = [step(learner, pair).judged.fake["image"].mean((2, 3)) for learner in (own, fixed)]
    wanted = pair.lq.mean((2, 3))
    assert (colors[1] - wanted).abs().max() < 0.02 < (colors[0] - wanted).abs().max()
    assert all(p.grad is not None and p.grad.any() for _, p in fixed.named_parameters() if p.requires_grad)
