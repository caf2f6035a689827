"""A recipe is data: what a method is made of and how each of its stages is trained."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar, Unpack

from torch import nn

from sdsr.checkpoints.conversion import Conversion, Published
from sdsr.errors import InputError
from sdsr.images.color import VARIANCE_FLOOR
from sdsr.methods.facts import RecipeFacts
from sdsr.methods.learning import Learns
from sdsr.methods.method import Device, Method, Trainable
from sdsr.objectives.training_step import TrainingStep
from sdsr.prior.prior import Prior
from sdsr.request import ColorFix
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer

Model = TypeVar("Model")
Model_contra = TypeVar("Model_contra", contravariant=True)


class Objective(Protocol[Model_contra]):
    """What a stage minimises: a frozen dataclass of weights that builds the module which computes it."""

    def training_step(self, model: Model_contra, discriminator: nn.Module | None, /) -> TrainingStep: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSettings:
    """AdamW; the learning rate warms up over steps, holds, and falls along a cosine over the last part of the run.

    Gradients are clipped to `clip_norm`; infinity leaves them as they are.
    """

    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    warmup_steps: int = 100
    decay_from: float = 0.5
    final_share: float = 0.02
    clip_norm: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Generic[Model]):
    """One training run of a recipe, of what its method builds.

    `method` builds what is trained, and of its parts learns what `learns` says; `discriminator(model)` builds its
    discriminator. Crops are `crop_px` wide and flipped, left to right and upside down, with the probabilities of
    `flips`; `degradation` names a table of sdsr/data, None where the objective needs only HQ photos. `taught`: it
    learns from pairs with a teacher's answers (`sdsr teach`). `init_from` says whose parts it is made to begin with, if
    any.
    """

    name: str
    method: Trainable[Model]
    objective: Objective[Model]
    optimizer: OptimizerSettings
    steps: int
    batch: int
    crop_px: int
    learns: Learns = field(default_factory=Learns)
    flips: tuple[float, float] = (0.5, 0.0)
    accumulate: int = 1
    degradation: str | None = None
    taught: bool = False
    discriminator: Callable[[Model], nn.Module] | None = None
    discriminator_optimizer: OptimizerSettings | None = None
    ema_decay: float = 0.999
    init_from: str | None = None

    def build(self, prior: str | Prior, device: Device = None) -> Model:
        """Return what is trained, on a prior or that of a name or folder; of a restorer's parts learns what shall."""
        built = self.method.build(prior, device)
        if isinstance(built, Restorer):
            self.learns.apply(dict(built.parts.modules.items()))
        return built


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A method and how it is trained; `dataclasses.replace` and `settings.with_settings` make ablations of it.

    `facts` say what is told of it, its name and prior among them. `method` is None for recipes that only train a part
    of a prior. `listens` says whether a user's prompt means anything to it. One to `most_steps` steps can be wished, if
    more than one. `starts` are those that it was trained at, in its paper's counting; none where there is no choice of
    a start. `adain_floor`: what AdaIN adds to variances of colors in [0, 1]. `canvas`: what enlarges a photo, and in
    which canvases and windows the method restores it. `learns`: what of a published method learned that has no stage
    here.
    """

    facts: RecipeFacts
    method: Method | None = None
    color_fix: ColorFix = "wavelet"
    adain_floor: float = VARIANCE_FLOOR
    listens: bool = False
    most_steps: int = 1
    starts: tuple[int, ...] = ()
    canvas: Canvas = field(default_factory=Canvas)
    learns: Learns = field(default_factory=Learns)
    stages: tuple[Stage, ...] = field(default=())

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def paper(self) -> str:
        return self.facts.paper

    @property
    def summary(self) -> str:
        return self.facts.summary

    @property
    def prior(self) -> str:
        return self.facts.prior

    @property
    def plan(self) -> Plan | None:
        """The method's own plan; None where nothing is restored."""
        return None if self.method is None else self.method.own_plan

    @property
    def restoring(self) -> Method:
        """The method of a recipe that restores photos, as all of `METHODS` do."""
        assert self.method is not None, f"{self.name} restores nothing: it has no plan"
        return self.method

    def with_plan(self, plan: Plan) -> "Recipe":
        """Return the recipe whose method has another plan of its own."""
        return replace(self, method=replace(self.restoring, own_plan=plan))  # pyright: ignore[reportArgumentType]

    def published(self, **conversion: Unpack[Conversion]) -> Published:
        """Return a published checkpoint that fits this recipe; `conversion` are the other fields of `Published`."""
        return Published(recipe=self.name, prior=self.prior, times=self.restoring.own_plan.times, **conversion)

    def stage(self, name: str | None = None) -> Stage:
        """Return the stage of this name, or the only one."""
        if name is None and len(self.stages) == 1:
            return self.stages[0]
        names = [stage.name for stage in self.stages]
        for stage in self.stages:
            if stage.name == name:
                return stage
        said = "" if name is None else f" (={name})"
        raise InputError(f"stage{said} of {self.name} must be one of {', '.join(names)}; choose one with --stage.")
