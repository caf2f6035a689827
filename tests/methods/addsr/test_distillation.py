"""Timestep-adaptive adversarial distillation: recorded weights and losses, who learns, which steps are trained."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.diffusion.times import trailing
from sdsr.losses.adversarial import generator_hinge
from sdsr.losses.terms import StepRecord
from sdsr.methods.addsr.distillation import (
    Distillation,
    StepWeights,
    StudentStep,
    TeacherDistance,
    distance,
    teacher_weight,
)
from sdsr.methods.addsr.recipes import ADDSR_SMALL, discriminator_of
from sdsr.objectives.restorer_step import RestorerStep
from sdsr.objectives.training_step import Sample, numbers
from sdsr.prior.tiny import tiny_prior
from sdsr.restoration.plan import Refinement
from tests.tensors import pair, seeded

GOLDEN = Path(__file__).parents[2] / "golden" / "addsr_step"
TIMES = trailing(4)
STAGE = ADDSR_SMALL.stages[0]


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    return load_file(GOLDEN / "io.safetensors")


def test_the_schedule_as_published(recorded):
    schedule, times = NoiseSchedule.scaled_linear(), recorded["timesteps"].long()
    assert tuple(recorded["inference_timesteps"].tolist()) == TIMES
    torch.testing.assert_close(
        schedule.signal(torch.arange(1000)).square().float(), recorded["alphas_cumprod"], atol=1e-6, rtol=0
    )
    every = teacher_weight(schedule, torch.arange(1000))
    torch.testing.assert_close(every, recorded["teacher_weight_all_1000_timesteps"], atol=1e-6, rtol=0)
    noisy = schedule.noisy(recorded["z0"], recorded["noise"], times)
    torch.testing.assert_close(noisy, recorded["add_noise"], atol=1e-5, rtol=0)
    clean = schedule.clean(recorded["eps_pred"], recorded["add_noise"], times)
    torch.testing.assert_close(clean, recorded["get_z0"], rtol=1e-4, atol=1e-4)


def test_weights_as_meant_and_as_published(recorded):
    meant, published = StepWeights(), StepWeights(lagging=True)
    values = dict(zip(recorded["TA_weight_args"].tolist(), recorded["TA_weight_values"], strict=True))
    torch.testing.assert_close(meant.at([0, 1, 2, 3], 4), torch.stack([values[time] for time in TIMES]))
    assert recorded["student_first_timestep_two_step_branch"].tolist() == list(TIMES[:3])
    later = recorded["weight_two_step_branch_for_second_timesteps_749_499_249"]
    torch.testing.assert_close(published.at([1, 2, 3], 4), later)
    torch.testing.assert_close(published.at([0], 4), recorded["weight_one_step_branch_for_timestep_999"])
    torch.testing.assert_close(meant.at([1, 2, 3], 4), torch.tensor([1.05, 2.205, 4.6305]))
    assert StepWeights(growth=1.0).at([0, 3], 4).tolist() == [0.5, 0.5]


def test_the_distillation_loss_as_published(recorded):
    of = {key.removeprefix("distill."): value for key, value in recorded.items() if key.startswith("distill.")}
    teacher = [(of[f"x0_teacher_{draw}"] + 1) / 2 for draw in range(4)]
    times = of["teacher_timesteps_split_in_4_chunks_of_2"].long().view(4, 2)
    weights = [teacher_weight(NoiseSchedule.scaled_linear(), t) for t in times]
    distances = distance((of["x0_student"] + 1) / 2, teacher, weights)
    expected = of["weighted_square_error_stack"].mean((1, 2, 3, 4))
    torch.testing.assert_close(distances, expected, atol=1e-5, rtol=0)
    places = [TIMES.index(t) if t in TIMES else 3 for t in of["t_TA_per_sample"].tolist()]
    losses = StepWeights().at(places, 4) * distances
    torch.testing.assert_close(losses, torch.cat([of["loss_sample0"], of["loss_sample1"]]), atol=1e-5, rtol=0)
    total = losses.mean() + Distillation.__dataclass_fields__["adversarial"].default * generator_hinge(
        [recorded["gan.pred_fake"]]
    )
    torch.testing.assert_close(total, recorded["total_generator_loss"][0], atol=1e-5, rtol=0)


def training_step(**changes) -> RestorerStep:
    torch.manual_seed(0)
    prior = tiny_prior()
    prior = prior.adapted(schedule=prior.schedule.predicting("v_prediction"))
    restorer = STAGE.build(prior)
    for parameter in restorer.parts.modules["controlnet"].parameters():
        if not parameter.any() and parameter.ndim == 4:
            torch.nn.init.normal_(parameter, std=0.05)
    settings = {"draws": 1, "terms": (), "ea_dists": 0.0} | changes
    return replace(STAGE.objective, **settings).training_step(restorer, None)


def teacher_of(trained: RestorerStep) -> TeacherDistance:
    teacher = trained.terms[0].function
    assert isinstance(teacher, TeacherDistance)
    return teacher


@pytest.fixture
def sample(photo) -> Sample:
    return pair(photo)


def rule(**changes) -> StudentStep:
    return training_step(**changes).rule


def test_the_teacher_stays_while_the_student_learns(sample):
    trained = training_step()
    before = {key: value.clone() for key, value in teacher_of(trained).restorer.parts.modules.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in trained.parameters() if p.requires_grad], lr=1.0)
    trained(sample, seeded()).loss.backward()
    optimizer.step()
    after = teacher_of(trained).restorer.parts.modules.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    own = trained.trainable_modules["attention"].state_dict()
    assert not all(torch.equal(after[f"attention.{key}"], value) for key, value in own.items())
    assert not any("teacher" in name for name in trained.state_dict())


def test_the_teacher_looks_at_the_hq_photo(sample):
    trained = training_step()
    taken, teacher = trained.rule.take(sample, seeded()), teacher_of(trained)
    (here,), _ = teacher.answers(replace(taken, rng=seeded()))
    (there,), _ = teacher.answers(replace(taken, rng=seeded(), hq_image=1 - sample.hq))
    assert not torch.allclose(here, there, atol=1e-4)
    (again,), (weight,) = teacher.answers(replace(taken, rng=seeded()))
    assert torch.equal(here, again)
    assert weight.shape == (2,)


def test_the_term_weighs_each_photos_distance_by_its_step(sample):
    trained = training_step(alone=0.0, rollout=False)
    taken, teacher = trained.rule.take(sample, seeded(2)), teacher_of(trained)
    distances = distance(taken.images()[0], *teacher.answers(replace(taken, rng=seeded())))
    weights = torch.tensor([{999: 0.5, 749: 1.05, 499: 2.205, 249: 4.6305}[t] for t in taken.t.tolist()])
    torch.testing.assert_close(teacher(replace(taken, rng=seeded())), (weights * distances).mean())


def test_the_first_step_is_trained_alone_and_later_ones_after_another(sample):
    alone = rule(alone=1.0).take(sample, seeded())
    assert alone.t.tolist() == [999, 999]
    trained, encoded = rule(alone=0.0), set()
    for seed in range(4):
        encoded |= set(trained.take(sample, seeded(seed)).t.tolist())
    assert encoded <= {749, 499, 249}
    assert len(encoded) > 1
    one = rule(alone=0.0, plan=replace(STAGE.objective.plan, times=(999,)))
    assert one.take(sample, seeded()).t.tolist() == [999, 999]


def test_a_later_step_sees_the_earlier_result_as_much_as_it_is_told(sample, monkeypatch):
    """With no weight on it, it sees the photo alone, as the first step does."""
    cleans = {
        weight: rule(alone=0.0, looked_back=Refinement(weight=weight)).take(sample, seeded()).clean
        for weight in (0.0, 0.5, 1.0)
    }
    trained, looked_back = rule(alone=0.0), StudentStep._looked_back
    monkeypatch.setattr(
        StudentStep, "_looked_back", lambda self, encoded, *how: (looked_back(self, encoded, *how)[0], encoded)
    )
    torch.testing.assert_close(trained.take(sample, seeded()).clean, cleans[0.0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(cleans[0.0], cleans[0.5], atol=1e-4)
    assert not torch.allclose(cleans[0.5], cleans[1.0], atol=1e-4)


def started(trained: StudentStep, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> tuple[list, StepRecord]:
    """What is noised, and to which times, while a step is taken."""
    of, noisy = [], NoiseSchedule.noisy
    monkeypatch.setattr(
        NoiseSchedule, "noisy", lambda self, *given: of.append((given[0], given[2])) or noisy(self, *given)
    )
    return of, trained.take(sample, seeded())


def test_a_later_step_follows_one_and_both_start_from_hq(sample, monkeypatch):
    of, taken = started(rule(alone=0.0, rollout=False), sample, monkeypatch)
    assert len(of) == 2
    assert all(torch.equal(latent, taken.hq) for latent, _ in of)


def test_in_a_rollout_it_follows_all_before_it_as_in_restoring(sample, monkeypatch):
    trained = rule(alone=0.0, rollout=True, plan=replace(STAGE.objective.plan, times=TIMES[:3]))
    of, taken = started(trained, sample, monkeypatch)
    assert [int(torch.as_tensor(t).flatten()[0]) for _, t in of] == list(TIMES[: TIMES.index(int(taken.t[0])) + 1])
    assert torch.equal(of[0][0], taken.encoded.latent)
    assert not any(torch.equal(latent, taken.hq) for latent, _ in of)
    assert len({tuple(latent.flatten().tolist()) for latent, _ in of}) == len(of)


def test_gradients_are_those_without_checkpointing(sample):
    """The teacher predicts between the student's forward and its backward, on the same UNet."""
    gradients = []
    for checkpointed in (False, True):
        trained = training_step(alone=0.0)
        if checkpointed:
            for network in (trained.restorer.prior.unet, *trained.restorer.parts.modules.modules()):
                if hasattr(network, "enable_gradient_checkpointing"):
                    network.enable_gradient_checkpointing()
        trained(sample, seeded()).loss.backward()
        gradients.append([p.grad for p in trained.parameters() if p.requires_grad])
    assert all(gradient.any() for gradient in gradients[0])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain, atol=1e-5, rtol=1e-5)


def test_the_discriminator_is_heard_from_its_share_of_the_run_on(sample):
    plain = training_step()
    discriminator = discriminator_of(plain.restorer)
    trained = replace(plain.rule.objective, adversarial_from=0.5).training_step(plain.restorer, discriminator)
    early, late = trained(sample, seeded(), 0.1), trained(sample, seeded(), 0.6)
    assert "adversarial" not in early.scalars
    adversarial = numbers(late.scalars)["adversarial"]
    torch.testing.assert_close(late.loss - early.loss, torch.tensor(0.02 * adversarial), atol=1e-4, rtol=1e-3)
    late.loss.backward()
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    assert late.record is not None
    discriminator(late.record.detached(), seeded()).loss.backward()
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


def test_further_terms_are_told_and_weighed(sample):
    """The small recipe's, EA-DISTS among them, and none as published."""
    plain, further = training_step(), training_step(terms=STAGE.objective.terms, ea_dists=0.2)
    (published, held) = (each(sample, seeded()) for each in (plain, further))
    assert set(published.scalars) == {"distillation"}
    weights = {term.name: term.weight for term in STAGE.objective.terms} | {"ea_dists": 0.2}
    assert set(held.scalars) == {"distillation", *weights}
    assert held.scalars["ea_dists"] > 0
    told = numbers(held.scalars)
    added = sum(weight * told[name] for name, weight in weights.items())
    torch.testing.assert_close(held.loss - published.loss, torch.tensor(added), rtol=1e-3, atol=1e-4)
