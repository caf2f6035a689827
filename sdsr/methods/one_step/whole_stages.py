"""The stages in which a small UNet and its own decoder learn as one: last, or from the start."""

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from sdsr.losses.terms import Term, against_teacher, gradient_l1, image_l1, latent_l2
from sdsr.methods.decoder_stages import DETAILED, decoder_stages
from sdsr.methods.learning import Learns
from sdsr.methods.method import Method
from sdsr.methods.recipe import OptimizerSettings, Stage
from sdsr.methods.settings import with_settings
from sdsr.objectives.decoding import Decoding
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer

WHOLE = Learns(parts=("unet", "decoder"), but=DETAILED.but)
NEAR_HQ = Term(name="latent", weight=0.1, function=latent_l2)
"""Keeps the latent one that the prior knows, so that its UNet can judge it."""


def wholly_trained(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Return a decoder's stages with one before the last: `whole`, where the UNet learns what the decoder needs.

    Its loss looks through another network than the stages before, so that theirs is left to choose by, and its pairs
    are milder: on harder ones alone, results of camera photos got dirtier with time. It is held to the teacher's
    features nearly as much as to the HQ photo's, which keeps meshes out of textures that can't be restored.
    """
    *before, detail, faithful = stages
    objective = detail.objective
    assert isinstance(objective, Decoding), "the decoder stages learn to decode"
    objective = replace(
        objective, whole=True, network="lite1", taught=0.15, features=0.5, edges=0.15, adversarial_image=0.03
    )
    weights = {"image": 0.2, "gradient": 0.1, "spectral_peaks": 0.1}
    whole = replace(
        detail,
        name="whole",
        learns=WHOLE,
        objective=with_settings(objective, {f"terms.{name}.weight": weight for name, weight in weights.items()}),
        degradation="camera",
        optimizer=OptimizerSettings(learning_rate=1.5e-4, warmup_steps=50, decay_from=0.5),
        init_from="stage detail",
    )
    return *before, detail, whole, replace(faithful, init_from="stage whole")


def whole_stages(method: Method, discriminators: Callable[[Restorer], nn.Module], plan: Plan) -> tuple[Stage, ...]:
    """Return a teacher's stage and the one beyond, both of UNet and decoder; the autoencoder stays as it is."""
    decoder, detail, faithful = decoder_stages(method, discriminators, plan)
    objective = decoder.objective
    beyond = detail.objective
    assert isinstance(objective, Decoding), "the decoder stages learn to decode"
    assert isinstance(beyond, Decoding), "the decoder stages learn to decode"
    terms = (
        NEAR_HQ,
        Term(name="taught_image", weight=1.0, function=against_teacher(image_l1)),
        Term(name="taught_gradient", weight=1.0, function=against_teacher(gradient_l1)),
    )
    taught = replace(
        decoder,
        name="taught",
        learns=WHOLE,
        objective=replace(objective, whole=True, terms=terms),
        optimizer=OptimizerSettings(learning_rate=5e-4, warmup_steps=100, decay_from=0.6),
        init_from=None,
    )
    weights = {"features": 1.0, "edges": 0.3, "adversarial_image": 0.08, "adversarial_latent": 0.005}
    detail = replace(
        detail,
        learns=WHOLE,
        objective=replace(beyond, whole=True, terms=(NEAR_HQ, *beyond.terms), **weights),
        optimizer=OptimizerSettings(learning_rate=2e-4, warmup_steps=50, decay_from=0.5),
        init_from="stage taught",
    )
    return taught, detail, faithful
