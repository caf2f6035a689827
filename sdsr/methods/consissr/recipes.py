"""ConsisSR's recipes: Time-Aware Latent Augmentation, two stages, the small one, and the tables of the paper.

arXiv:2410.13807. Two stages train it: RCLIP alone, then everything else by noise matching whose noisy latents begin at
the LQ latent, the more often the later the time (TALA). The authors' checkpoint has another network than the paper,
which is a recipe of its own.
"""

import math
from dataclasses import replace

from sdsr.adapters.hybrid_attention import HybridSettings
from sdsr.diffusion.times import spaced
from sdsr.images.kernels import PILLOW_BICUBIC, PILLOW_LANCZOS
from sdsr.methods.consissr import FACTS
from sdsr.methods.consissr.method import PLAN, ConsisSR, PhotoEncoders
from sdsr.methods.consissr.rclip import Embedding
from sdsr.methods.consissr.tala import TimeAware
from sdsr.methods.decoder_stages import SMALL_FIDELITY, tuning_stage
from sdsr.methods.guided_decoding import DecoderSettings
from sdsr.methods.learning import Learns
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage
from sdsr.methods.small_canvas import SMALL_CANVAS
from sdsr.methods.variant import Variant
from sdsr.objectives.noise_matching import NoiseMatching, Source, plain
from sdsr.restoration.canvas import Canvas

FIXED = (
    "controlnet.*.transformer_blocks.0.attn2.*",
    "controlnet.*.transformer_blocks.0.norm2.*",
    "image_encoder",
    "tagger",
)
"""What does not learn: who looks at the photo and, of the ControlNet, attention to prompts, and the norm before it."""

NATIVE_PX = 512
CANVAS = Canvas(
    kernel=PILLOW_BICUBIC,
    native_px=NATIVE_PX,
    small="enlarged twice",
    shrink=PILLOW_LANCZOS,
    round_up=True,
    window_px=NATIVE_PX,
    overlap_px=NATIVE_PX // 2,
)
"""As published. Its network takes squares of 512 px only, as many as there are rows in its positional tables; so do we.

Deviation: canvases are filled up to multiples by mirroring, not with black, which AdaIN would measure as well.
"""

_RCLIP = Stage(
    name="rclip",
    method=PhotoEncoders(),
    objective=Embedding(),
    optimizer=OptimizerSettings(learning_rate=1e-5, warmup_steps=0, decay_from=1.0, clip_norm=math.inf),
    steps=100_000,
    batch=16,
    crop_px=224,
    flips=(0.5, 0.5),
    degradation="consissr_train_C_224",
    ema_decay=0.0,
)
_RESTORATION = Stage(
    name="restoration",
    method=ConsisSR(deferred=False),
    objective=NoiseMatching(source=TimeAware(gamma=10.0), guidance=PLAN.guidance),
    optimizer=OptimizerSettings(learning_rate=5e-5, warmup_steps=0, decay_from=1.0, clip_norm=math.inf),
    steps=200_000,
    batch=8,
    crop_px=512,
    learns=Learns(but=FIXED),
    flips=(0.5, 0.5),
    degradation="consissr",
    ema_decay=0.0,
    init_from="stage rclip",
)

CONSISSR = Recipe(
    facts=FACTS["consissr"],
    method=ConsisSR(),
    color_fix="adain",
    listens=True,
    most_steps=1000,
    canvas=CANVAS,
    stages=(_RCLIP, _RESTORATION),
)
"""As the paper trains it: Adam, constant learning rates, batches of 16 and 8, no averaging of weights."""


SMALL_GUIDANCE = 1.2
SMALL_METHOD = ConsisSR(
    hybrid=HybridSettings(side_cells=16),
    hint_widths=(32, 64),
    own_plan=replace(PLAN, times=spaced(10), guidance=SMALL_GUIDANCE),
)
SMALL_PLAN = replace(SMALL_METHOD.own_plan, fidelity=SMALL_FIDELITY)
SMALL_DECODED = replace(SMALL_METHOD, decoder=DecoderSettings(), own_plan=SMALL_PLAN)

CONSISSR_SMALL = Recipe(
    facts=FACTS["consissr-small"],
    method=SMALL_DECODED,
    listens=True,
    most_steps=1000,
    canvas=SMALL_CANVAS,
    color_fix="none",
    stages=(
        replace(
            _RCLIP,
            optimizer=OptimizerSettings(learning_rate=3e-4, warmup_steps=50, decay_from=0.5),
            steps=20_000,
            batch=32,
            crop_px=128,
            degradation="photo",
            ema_decay=0.99,
        ),
        replace(
            _RESTORATION,
            method=replace(SMALL_METHOD, deferred=False),
            learns=Learns(but=(*FIXED, "controlnet.time_embedding")),
            objective=NoiseMatching(source=TimeAware(gamma=10.0), in_pixels=True, guidance=SMALL_GUIDANCE),
            optimizer=OptimizerSettings(learning_rate=5e-4, warmup_steps=100, decay_from=0.6),
            steps=20_000,
            batch=16,
            crop_px=128,
            degradation="photo",
            ema_decay=0.99,
        ),
        tuning_stage(SMALL_DECODED, SMALL_PLAN, after="restoration"),
    ),
)
"""On the embedded prior: crops of 128 px, so the positional tables are made for 16 x 16 cells.

Few steps and little guidance: on degraded validation photos, more of either ranked lower with the embedded weights.
"""

_HYBRIDS = ("hybrid", "control_hybrid")
CONSISSR_PUBLISHED = replace(
    CONSISSR,
    facts=FACTS["consissr-published"],
    method=ConsisSR(hybrid=HybridSettings(image="separate"), zero_last=True, init_scale=0.0),
    learns=Learns(but=(*FIXED, *(f"{part}.*.{name}.*" for part in _HYBRIDS for name in ("to_k_ip", "to_v_ip")))),
    stages=(),
)
"""Image keys and values by layers of their own, which didn't learn: they were not in the authors' optimizer."""


def _varied(**changes: object) -> Variant:
    """A variant of the small recipe's method; what is told no image embedding follows no stage."""
    told = changes.get("method.tokens", "embedding") == "embedding"
    changes |= {} if told else {"init_from": None}
    return Variant(recipe=CONSISSR_SMALL, stage="restoration", changes=changes)


def _with_image(**changes: object) -> Variant:
    """A variant of the small recipe whose image branch is another."""
    tokens = {"method.tokens": "none"} if changes["image"] == "none" else {}
    return _varied(**{f"method.hybrid.{name}": value for name, value in changes.items()}, **tokens)


def _with_source(source: Source) -> Variant:
    """A variant of the small recipe that noises something else."""
    return Variant(recipe=CONSISSR_SMALL, stage="restoration", changes={"objective.source": source})


RECIPES = (CONSISSR, CONSISSR_PUBLISHED, CONSISSR_SMALL)

ABLATIONS = {
    "consissr-prompts": {
        "fixed text": _with_image(image="none"),
        "DAPE": _varied(**{"method.hybrid.image": "none", "method.tokens": "tags"}),
        "IP-Adapter": _with_image(image="separate", zero_linear=False),
        "HPA, separate projections": _with_image(image="separate"),
        "HPA": Variant(recipe=CONSISSR_SMALL, stage="restoration"),
    },
    "consissr-tala": {
        "DDPM": _with_source(plain),
        "linear": _with_source(TimeAware(shape="linear")),
        "gamma 5": _with_source(TimeAware(gamma=5)),
        "gamma 10": Variant(recipe=CONSISSR_SMALL, stage="restoration"),
        "gamma 20": _with_source(TimeAware(gamma=20)),
    },
}
"""Tables 3 and 4 of the paper, on the small prior. DAPE is SeeSR's tagger, here its stand-in."""
