"""Optimizers and the course of their learning rate."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from sdsr.methods.recipe import OptimizerSettings


def make_optimizer(settings: OptimizerSettings, parameters: Iterable[nn.Parameter]) -> torch.optim.AdamW:
    """Return AdamW over those parameters that require a gradient."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return torch.optim.AdamW(
        trained, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
    )


def rate(settings: OptimizerSettings, step: int, progress: float) -> float:
    """Return the learning rate of step `step` (from 0) when the share `progress` of the run is done."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    fall = (progress - settings.decay_from) / (1 - settings.decay_from) if settings.decay_from < 1 else 0.0
    cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, max(0.0, fall)))
    return settings.learning_rate * warm * (settings.final_share + (1 - settings.final_share) * cosine)


def set_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value
