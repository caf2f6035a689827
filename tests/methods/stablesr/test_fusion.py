"""Fusion: what learns and on what, the discriminator's weight as published and as meant, what validation tells."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from sdsr.diffusion.noise import CanvasNoise
from sdsr.discriminators.patch import PatchDiscriminator
from sdsr.errors import InputError
from sdsr.losses.adversarial import HINGE
from sdsr.methods.stablesr.fusion import STOCK, Fusion
from sdsr.methods.stablesr.recipes import STABLESR_SMALL
from sdsr.objectives.discriminator import Discriminator, Pixels
from sdsr.objectives.restorer_step import RestorerStep
from sdsr.objectives.training_step import Sample
from sdsr.restoration.restorer import Restorer
from sdsr.training.run import RunSettings, checkpoints
from sdsr.training.trainer import train
from tests import tensors
from tests.tensors import stir

OBJECTIVE = Fusion(sampling_steps=2)


def built() -> Restorer:
    """The small method on the tiny prior, whose decoder and fusion are random, so that both are felt."""
    torch.manual_seed(0)
    restorer = STABLESR_SMALL.stage("fusion").build("tiny")
    schedule = restorer.prior.schedule.predicting("v_prediction")
    restorer = replace(restorer, prior=restorer.prior.adapted(schedule=schedule))
    stir(restorer.prior.modules["autoencoder"].get_submodule("decoder"), 0.1)
    stir(restorer.parts.modules["feature_wrapping"], 0.05)
    return restorer


@pytest.fixture
def restorer() -> Restorer:
    return built()


@pytest.fixture
def pair(photo) -> Sample:
    return tensors.pair(photo)


def patches() -> Discriminator:
    torch.manual_seed(1)
    return Discriminator(PatchDiscriminator((4, 8, 8, 8)), Pixels(), HINGE)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def step(training_step: RestorerStep, sample: Sample, progress: float = 1.0):
    outcome = training_step(sample, seeded(), progress)
    outcome.loss.backward()
    return outcome


def test_only_the_fusion_learns_and_all_parts_are_kept(restorer, pair):
    training_step = OBJECTIVE.training_step(restorer, patches())
    outcome = step(training_step, pair)
    assert set(training_step.trainable_modules) == {"time_aware_encoder", "modulation", "feature_wrapping"}
    learning = {name for name, p in training_step.named_parameters() if p.requires_grad}
    assert {name.split(".")[1] for name in learning} == {"feature_wrapping"}
    assert all(p.grad is not None and p.grad.any() for _, p in training_step.named_parameters() if p.requires_grad)
    assert not any(p.requires_grad for p in restorer.prior.modules.parameters())
    assert outcome.record is not None
    assert torch.equal(outcome.record.images()[1], pair.hq)


def test_the_discriminator_is_heard_when_its_time_has_come_and_learns_before(restorer, pair):
    discriminator = patches()
    training_step = replace(OBJECTIVE, adversarial_from=0.3).training_step(restorer, discriminator)
    before, after = training_step(pair, seeded(), 0.2), training_step(pair, seeded(), 0.3)
    assert "adversarial" not in before.scalars
    expected = before.loss + 0.025 * after.scalars["adversarial"]
    torch.testing.assert_close(after.loss, expected)
    after.loss.backward()
    assert all(p.requires_grad and p.grad is None for p in discriminator.parameters())
    discriminator(before.record.detached(), seeded()).loss.backward()
    assert all(p.grad is not None for p in discriminator.parameters())


def test_the_ratio_lets_the_discriminator_weigh_its_share_at_the_last_layer(restorer, pair):
    """Gradients of the discriminator's share alone are 0.025 of the other terms' norm there."""

    def gradient(discriminator: Discriminator | None, objective: Fusion) -> torch.Tensor:
        last = restorer.parts.modules.get_parameter("feature_wrapping.factor_2.out.conv2.weight")
        last.grad = None
        step(objective.training_step(restorer, discriminator), pair)
        assert last.grad is not None
        return last.grad

    terms = gradient(None, OBJECTIVE)
    share = gradient(patches(), replace(OBJECTIVE, balance="ratio")) - terms
    constant = gradient(patches(), OBJECTIVE) - terms
    torch.testing.assert_close(share.norm() / terms.norm(), torch.tensor(0.025), rtol=0.1, atol=0)
    assert abs(float(constant.norm() / share.norm()) - 1) > 0.2


def test_batches_are_taken_again_by_a_rule_of_the_step_alone():
    """One step in `uses` takes the next; the others one of the last, all of them about as often."""
    objective = replace(OBJECTIVE, uses=4)
    taken = [objective.batch_of(step, 7) for step in range(1200)]
    assert taken[::4] == list(range(300))
    assert all(max(0, step // 4 + 1 - STOCK) <= batch <= step // 4 for step, batch in enumerate(taken))
    counts = [taken.count(batch) for batch in range(100, 200)]
    assert 3 < sum(counts) / len(counts) < 5
    assert max(counts) < 14
    assert taken == [objective.batch_of(step, 7) for step in range(1200)]
    assert taken != [objective.batch_of(step, 8) for step in range(1200)]
    assert [replace(objective, uses=1).batch_of(step, 7) for step in range(5)] == list(range(5))


def test_a_numbered_batch_is_restored_once(restorer, pair, monkeypatch):
    training_step = OBJECTIVE.training_step(restorer, None)
    restored, latents = [], training_step.rule.latents
    restore = latents.restore
    monkeypatch.setattr(latents, "restore", lambda *given: restored.append(given[0].numbers) or restore(*given))
    losses = [float(training_step(replace(pair, numbers=(n, n + 1)), seeded()).loss.detach()) for n in (4, 8, 4)]
    assert restored == [(4, 5), (8, 9)]
    assert losses[0] == losses[2] != losses[1]


def test_a_killed_and_resumed_run_gives_the_weights_of_one_that_went_through(tmp_path, photo):
    """Batches are taken again after the resumption that were restored before it."""
    stage = STABLESR_SMALL.stage("fusion")
    objective = replace(stage.objective, sampling_steps=1, uses=3, lpips=0.0, terms=())
    stage = replace(stage, objective=objective, batch=1, crop_px=32, degradation=None)
    hq = photo[..., :96, :96].reshape(1, 3, 3, 32, 3, 32).permute(0, 2, 4, 1, 3, 5).reshape(9, 1, 3, 32, 32)

    before, after = ({objective.batch_of(step, 0) for step in steps} for steps in (range(4), range(4, 8)))
    assert before & after, "a batch of before is taken again"

    def run(folder: str, killed_at: int | None = None) -> dict[str, torch.Tensor]:
        def source(step: int) -> Sample:
            if step == killed_at:
                raise InputError("killed")
            batch = objective.batch_of(step, 0)
            return Sample(hq=hq[batch], lq=torch.nn.functional.avg_pool2d(hq[batch], 4), numbers=(batch,))

        settings = RunSettings(folder=tmp_path / folder, steps=8)
        parts = train(objective.training_step(built(), patches()), stage, source, [], settings, metadata={})
        return load_file(parts / "feature_wrapping.safetensors")

    through = run("through")
    with pytest.raises(InputError, match="killed"):
        run("killed", killed_at=4)
    assert [path.name for path in checkpoints(tmp_path / "killed")] == ["step-00000004"]
    resumed = run("killed")
    assert through.keys() == resumed.keys()
    for name, tensor in through.items():
        torch.testing.assert_close(resumed[name], tensor)


def test_validation_decodes_the_same_latents_with_three_fidelities(restorer, pair):
    training_step = OBJECTIVE.training_step(restorer, None)
    with torch.no_grad():
        figures, columns = training_step.measure(pair, seeded()), training_step.pictures(pair, seeded())
        restored = training_step.rule.restored(pair, CanvasNoise.from_generator(seeded(), photos=2))
        stock = restorer.prior.decode(restored).clamp(0, 1)
    assert set(figures) == {f"{name}_w{w}" for name in ("psnr", "detail") for w in ("0", "0.5", "1")}
    assert list(columns) == ["bicubic", "fidelity 0", "fidelity 0.5", "fidelity 1", "photo"]
    assert len({figures[f"psnr_w{w}"] for w in ("0", "0.5", "1")}) == 3
    assert torch.equal(columns["fidelity 0"], stock)


def test_pictures_can_be_compared_in_the_colors_of_the_lq_photo(restorer, pair):
    """As the wavelet fix delivers them: far from the decoder's own colors, and with gradients to what learns."""
    own, fixed = (replace(OBJECTIVE, corrected=each).training_step(restorer, patches()) for each in (False, True))
    colors = [step(training_step, pair).record.images()[0].mean((2, 3)) for training_step in (own, fixed)]
    wanted = pair.lq.mean((2, 3))
    assert (colors[1] - wanted).abs().max() < 0.02 < (colors[0] - wanted).abs().max()
    assert all(p.grad is not None and p.grad.any() for _, p in fixed.named_parameters() if p.requires_grad)
