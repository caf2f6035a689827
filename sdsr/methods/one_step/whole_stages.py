"""The stage in which a small UNet and its own decoder learn as one."""

from dataclasses import replace

from sdsr.methods.decoder_stages import DETAILED
from sdsr.methods.learning import Learns
from sdsr.methods.recipe import OptimizerSettings, Stage
from sdsr.methods.settings import with_settings
from sdsr.objectives.decoding import Decoding

WHOLE = Learns(parts=("unet", "decoder"), but=DETAILED.but)


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
