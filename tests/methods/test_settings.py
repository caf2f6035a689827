"""What a setting may be: its type, read from text, and its limits."""

import math
from typing import cast

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sdsr.errors import InputError
from sdsr.methods.limits import Limit, check_numbers, limit_of
from sdsr.methods.recipe import OptimizerSettings, Stage
from sdsr.methods.settings import with_settings
from sdsr.objectives.decoding import Decoding
from sdsr.training.configuration import stage_changes, stage_toml
from sdsr.training.recipes import RECIPES

STAGES = [stage for recipe in RECIPES.values() for stage in recipe.stages]
STAGE: Stage = RECIPES["d3sr-small"].stage("realism")


def toml(stage: Stage) -> dict[str, str]:
    import tomllib

    return stage_changes(tomllib.loads(stage_toml(stage)))


@pytest.mark.parametrize("stage", STAGES, ids=[f"{place}-{stage.name}" for place, stage in enumerate(STAGES)])
def test_all_recipes_are_within_the_limits(stage):
    check_numbers(stage)


@pytest.mark.parametrize(
    "change",
    [
        *("batch=0", "batch=-1", "batch=1e3", "batch=nan", "batch=99999999999999999999", "batch=true", "batch="),
        *("crop_px=0", "crop_px=-64", "accumulate=0", "steps=0", "steps=-5", "ema_decay=1.5", "ema_decay=-0.1"),
        *("ema_decay=nan", "flips=0.5", "flips=0.5,2", "flips=0.5,nan", "flips=", "flips=0.5,0.5,0.5"),
        *("optimizer.learning_rate=nan", "optimizer.learning_rate=inf", "optimizer.learning_rate=-1e-4"),
        *("optimizer.learning_rate=1e999", "optimizer.learning_rate=fast", "optimizer.betas=0.9"),
        *("optimizer.betas=0.9,1.0", "optimizer.betas=-0.1,0.9", "optimizer.betas=0.9,nan", "optimizer.clip_norm=0"),
        *("optimizer.weight_decay=-1", "optimizer.weight_decay=inf", "optimizer.warmup_steps=-1"),
        *("optimizer.decay_from=2", "optimizer.final_share=-1", "optimizer.clip_norm=nan", "optimizer.clip_norm=-1"),
        *(
            "discriminator_optimizer.learning_rate=nan",
            "discriminator=none_such",
            "system=x",
            "objective=3",
            "optimizer=3",
        ),
        *("objective.ea_dists=nan", "objective.adversarial_image=-1", "objective.adversarial_from=1.5"),
        *("objective.adversarial_from=nan", "objective.terms=x", "objective.plan=7", "objective.plan.times=1000"),
        *("objective.plan.times=-1", "objective.plan.times=x", "objective.plan.guidance=nan"),
        *("objective.plan.fidelity=2", "objective.plan.step=renoise", "objective.plan.start=1000"),
        *("objective.starts=-3", "objective.starts=a,b"),
    ],
)
def test_what_no_training_can_use_is_an_input_error(change):
    key, _, value = change.partition("=")
    with pytest.raises(InputError, match=key.rpartition(".")[2]):
        with_settings(STAGE, {key: value})


@hypothesis_settings(max_examples=150, deadline=None)
@given(
    stage=st.sampled_from(STAGES),
    data=st.data(),
    value=st.one_of(
        st.floats().map(str),
        st.integers().map(str),
        st.just("9" * 400),
        st.text(max_size=6),
        st.lists(st.floats(), max_size=3).map(lambda numbers: ",".join(map(str, numbers))),
        st.sampled_from(["none", "true", "false", "nan", "-inf", "inf", "1e400"]),
    ),
)
def test_any_text_for_any_setting_is_taken_or_an_input_error(stage, data, value):
    """And what is taken is finite, but where infinity means something, and can be printed and read back."""
    key = data.draw(st.sampled_from(sorted(toml(stage))))
    try:
        changed = with_settings(stage, {key: value})
    except InputError:
        return
    check_numbers(changed)
    assert with_settings(stage, toml(changed)) == changed


def test_values_of_code_are_checked_as_text_is():
    assert with_settings(STAGE, {"batch": 3, "degradation": None, "flips": (0.1, 0.2)}).flips == (0.1, 0.2)
    for wrong in (
        {"batch": 2.5},
        {"batch": True},
        {"flips": (0.5,)},
        {"flips": 3},
        {"optimizer.learning_rate": math.nan},
    ):
        with pytest.raises(InputError):
            with_settings(STAGE, wrong)
    optimizer = OptimizerSettings(learning_rate=1e-4, betas=(0.9, 1.0))
    with pytest.raises(InputError, match=r"optimizer\.betas \(=1.0\) must be in 0 \.\.\. 1, less than its end"):
        check_numbers(with_settings(STAGE, {"optimizer": optimizer}))


def test_a_term_is_called_by_its_name():
    detail = RECIPES["d3sr-small"].stage("detail")
    changed = with_settings(detail, {"objective.terms.gradient.weight": "0.25"})
    before, after = (cast(Decoding, stage.objective).terms for stage in (detail, changed))
    assert [term.name for term in after] == [term.name for term in before]
    assert [term.weight for term in after if term.name == "gradient"] == [0.25]
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    for path, message in (
        ("objective.terms.gradent.weight", "did you mean 'gradient'"),
        ("objective.terms.gradient", "name one of them, as objective.terms.gradient.weight"),
        ("objective.terms.gradient.weight.x", "holds no further settings"),
    ):
        with pytest.raises(InputError, match=message):
            with_settings(detail, {path: "1"})


def test_limits_say_what_they_are():
    assert str(limit_of("batch")) == "in 1 ... 4096"
    assert str(limit_of("learning_rate")) == "at least 0, and finite"
    assert str(limit_of("clip_norm")) == "above 0"
    assert limit_of("clip_norm").holds(math.inf)
    assert not Limit().holds(math.nan)
