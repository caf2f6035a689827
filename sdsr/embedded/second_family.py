"""Recipes of a second small family: an autoencoder whose decoder paints, and a prior on it.

Trained in this order, each with `--prior` the folder that the one before left, and then `d3sr-small-2`. Of it no
weights come with the package: what nine minutes of a GPU made of it was behind the first family by every measure
(docs/gpu-log.md).
"""

from dataclasses import replace

from sdsr.embedded import FACTS
from sdsr.embedded.generative import GenerativeReconstruction
from sdsr.embedded.recipes import SMALL_PRIOR, Autoencoder, SmallPrior
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage
from sdsr.methods.small_stages import DISCRIMINATOR_OPTIMIZER, image_discriminator

SMALL_AUTOENCODER_2 = Recipe(
    facts=FACTS["small-autoencoder-2"],
    stages=(
        Stage(
            name="generative",
            method=Autoencoder(kind="folded"),
            objective=GenerativeReconstruction(),
            optimizer=OptimizerSettings(learning_rate=5e-4, warmup_steps=100, decay_from=0.5),
            discriminator=image_discriminator,
            discriminator_optimizer=DISCRIMINATOR_OPTIMIZER,
            steps=20_000,
            batch=16,
            crop_px=256,
            ema_decay=0.995,
        ),
    ),
)

SMALL_PRIOR_2 = replace(
    SMALL_PRIOR,
    facts=FACTS["small-prior-2"],
    stages=(replace(SMALL_PRIOR.stages[0], method=SmallPrior(kind="folded"), batch=32, crop_px=256),),
)

SECOND_FAMILY = {recipe.name: recipe for recipe in (SMALL_AUTOENCODER_2, SMALL_PRIOR_2)}
