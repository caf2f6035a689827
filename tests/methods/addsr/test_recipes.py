"""What is special in SeeSR and AddSR: sizes, times, what they are told, teacher and student on one network."""

from dataclasses import replace

import pytest
import torch

from sdsr.adapters.tagger import SmallTagger, SwinTagger
from sdsr.checkpoints.weights import _of_prior
from sdsr.diffusion.noise import CanvasNoise
from sdsr.errors import InputError
from sdsr.methods.ablations import ABLATIONS
from sdsr.methods.addsr.method import SeeSR, first_times, leading, teacher_of
from sdsr.methods.addsr.recipes import (
    ADDSR,
    ADDSR_METHOD,
    ADDSR_SMALL,
    SEESR,
    SEESR_SMALL,
)
from sdsr.objectives.training_step import Sample
from sdsr.prior.condition import condition_at
from sdsr.prior.prior import Prior
from sdsr.prior.shapes import shape_prior
from sdsr.prior.tiny import tiny_prior
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.plan import Plan
from sdsr.restoration.sample import sample

NOISE = CanvasNoise(seeds=(4,))


@pytest.fixture
def lq_image(photo) -> LqImage:
    return LqImage.of(photo[..., :16, :24], (64, 96), 16)


def stirred(restorer):
    """Silent layers speak."""
    for parameter in restorer.parts.modules["controlnet"].parameters():
        if not parameter.any() and parameter.ndim == 4:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                torch.nn.init.normal_(parameter, std=0.05)
    return restorer


def size(module: torch.nn.Module, *, learning: bool = False) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad or not learning)


def test_full_size_is_the_published_one():
    prior = shape_prior("sd-2-base", image_encoder=False)
    with torch.device("meta"):
        parts = ADDSR.stage().build(prior).parts.modules
    assert sum(p.numel() for p in prior.unet.parameters()) + size(parts["attention"]) == 1_126_760_324
    assert size(parts["controlnet"]) + size(parts["control_attention"]) == 489_031_440
    assert size(parts, learning=True) == 386_739_280
    assert isinstance(parts["tagger"], SwinTagger)


def test_the_small_ones_fit_in_ten_megabytes():
    for recipe in (SEESR_SMALL, ADDSR_SMALL):
        restorer = recipe.method.build("small")
        stored = 0
        for module in restorer.parts.modules.values():
            kept = _of_prior(module, restorer.prior, bits=16)
            stored += sum(tensor.numel() for name, tensor in module.state_dict().items() if name not in kept)
        assert stored <= 4_990_000, recipe.name


def test_times_as_published():
    assert leading(50)[:2] == (981, 961)
    assert leading(50)[-1] == 1
    assert len(leading(50)) == 50
    assert (SEESR.plan.start_time, SEESR.plan.guidance) == (999, 5.5)
    assert leading(2) == (501, 1)
    assert [first_times(count) for count in (1, 4)] == [(999,), (999, 749, 499, 249)]
    assert ADDSR.plan.times == first_times(4)
    with pytest.raises(InputError, match=r"must be in 1 \.\.\. 4"):
        first_times(5)
    with pytest.raises(InputError, match="count of steps"):
        leading(0)


def test_guidance_keeps_what_is_seen_of_the_photo(lq_image):
    restorer = SeeSR().build("tiny")
    encoded = restorer.encode_lq(lq_image, None, NOISE)
    noisy = restorer.start(encoded, 999, NOISE)
    positive, negative = (condition_at(one, noisy, 500) for one in (encoded.condition, encoded.negative_condition))
    assert torch.equal(positive.tokens, negative.tokens)
    assert not torch.equal(positive.prompt, negative.prompt)
    assert ADDSR_METHOD.build("tiny").encode_lq(lq_image, None, NOISE).negative_condition is None


@pytest.mark.parametrize("guided", [False, True])
def test_the_photo_is_looked_at_once_and_each_refinement_once_more(lq_image, monkeypatch, guided):
    restorer, posteriors, tagged = SeeSR().build("tiny") if guided else ADDSR_METHOD.build("tiny"), [], []
    encode, tag = Prior.posterior, SmallTagger.__call__
    monkeypatch.setattr(Prior, "posterior", lambda *asked: posteriors.append(asked) or encode(*asked))
    monkeypatch.setattr(SmallTagger, "__call__", lambda *asked: tagged.append(asked) or tag(*asked))
    plan = replace(ADDSR.plan, guidance=2.0)
    sample(restorer, lq_image, replace(plan, refinement=None), NOISE)
    assert (len(posteriors), len(tagged)) == (1, 1)
    sample(restorer, lq_image, plan, NOISE)
    assert (len(posteriors), len(tagged)) == (2, 2 + len(plan.times) - 1)


def test_tags_and_pixels_are_both_listened_to(lq_image):
    restorer = stirred(SeeSR().build("tiny"))
    encoded = restorer.encode_lq(lq_image, None, NOISE)
    noisy = restorer.start(encoded, 999, NOISE)
    condition = condition_at(encoded.condition, noisy, 500)
    full = restorer.prior.predict(noisy, 500, condition)
    for port in ("tokens", "residuals"):
        assert not torch.allclose(
            restorer.prior.predict(noisy, 500, replace(condition, **{port: None})), full, atol=1e-4
        )


def test_without_a_tagger_there_is_no_image_attention(lq_image):
    parts = SeeSR(tags=False).build("tiny").parts
    assert list(parts.modules) == ["controlnet"]
    prior = tiny_prior()
    condition = parts.conditioner(prior, lq_image, prior.encode(lq_image.enlarged()))("clean")
    assert condition_at(condition, torch.zeros(1, 4, 8, 12), 5).tokens is None


def test_a_prior_without_eyes_waits_for_the_published_tagger():
    blind = replace(tiny_prior(), image=None)
    assert next(SeeSR().build(blind).parts.modules["tagger"].parameters()).is_meta


def test_the_teacher_is_what_the_student_is_until_one_learns(lq_image):
    restorer = stirred(ADDSR_SMALL.stage("distillation").build("tiny"))
    teacher = teacher_of(restorer)
    noisy = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(0))

    def predictions() -> list[torch.Tensor]:
        return [who.denoise(noisy, 500, who.encode_lq(lq_image, None, NOISE)) for who in (restorer, teacher)]

    assert torch.equal(*predictions())
    before = predictions()[1]
    with torch.no_grad():
        for parameter in restorer.parts.modules.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
    mine, theirs = predictions()
    assert torch.equal(theirs, before)
    assert not torch.allclose(mine, theirs, atol=1e-4)


def test_each_step_but_the_first_sees_what_came_before(lq_image):
    restorer = stirred(ADDSR_METHOD.build("tiny"))
    refined, plain = (
        sample(restorer, lq_image, plan, NOISE)
        for plan in (ADDSR.plan, Plan(times=ADDSR.plan.times, step=ADDSR.plan.step))
    )
    assert not torch.allclose(refined.clean, plain.clean, atol=1e-3)
    alone = sample(restorer, lq_image, replace(ADDSR.plan, times=(999,)), NOISE)
    assert torch.equal(alone.clean, sample(restorer, lq_image, Plan(times=(999,)), NOISE).clean)


@pytest.mark.parametrize("table", ["addsr-weights", "addsr-refinement"])
def test_each_row_of_the_tables_can_be_trained(table, photo):
    hq = torch.cat([photo[..., :64, :64], photo[..., -64:, -64:]])
    pair = Sample(hq=hq, lq=torch.nn.functional.avg_pool2d(hq, 4))
    for name, variant in ABLATIONS[table].items():
        stage = variant.trained({"objective.draws": 1})
        training_step = stage.objective.training_step(stage.build("tiny"), None)
        assert training_step(pair, torch.Generator().manual_seed(0), 0.0).loss.isfinite(), name
