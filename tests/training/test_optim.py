import pytest
import torch
from torch import nn

from sdsr.methods.recipe import OptimizerSettings
from sdsr.training.optim import make_optimizer, rate, set_rate

SETTINGS = OptimizerSettings(learning_rate=2.0, warmup_steps=10, decay_from=0.5, final_share=0.1)


@pytest.mark.parametrize(
    ("step", "progress", "expected"),
    [
        (0, 0.0, 0.2),  # a tenth of the way up
        (4, 0.1, 1.0),
        (9, 0.2, 2.0),  # warm
        (50, 0.5, 2.0),  # begins to fall
        (75, 0.75, 2.0 * 0.55),  # halfway down the cosine
        (100, 1.0, 0.2),
        (101, 1.5, 0.2),
    ],
)
def test_the_rate_warms_up_holds_and_falls(step, progress, expected):
    assert rate(SETTINGS, step, progress) == pytest.approx(expected)


def test_a_rate_that_never_falls_and_one_without_warmup():
    constant = OptimizerSettings(learning_rate=3.0, warmup_steps=0, decay_from=1.0)
    assert {rate(constant, step, step / 10) for step in range(11)} == {3.0}


def test_only_what_requires_gradients_is_optimized_with_the_settings():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    settings = OptimizerSettings(learning_rate=0.5, betas=(0.1, 0.2), weight_decay=0.3)
    optimizer = make_optimizer(settings, layer.parameters())
    (group,) = optimizer.param_groups
    assert group["params"] == [layer.weight]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.5, (0.1, 0.2), 0.3)
    set_rate(optimizer, 0.25)
    assert group["lr"] == 0.25
    assert isinstance(optimizer, torch.optim.AdamW)
