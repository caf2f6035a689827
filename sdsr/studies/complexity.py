"""How large a method is and how much it computes: parameters of each part, multiply-accumulates (MACs) for one photo.

Nothing is estimated: the method's own code runs, at full size on the "meta" device, where tensors have shapes and no
values. "layers" are the MACs inside convolutions and linear layers, which is what the profilers behind most papers'
tables count; "attention" are all other matrix products. Elementwise work and resampling are not counted.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sdsr.diffusion.noise import CanvasNoise
from sdsr.errors import InputError, ModelError
from sdsr.methods.recipe import Recipe, Stage
from sdsr.prior.prior import Prior
from sdsr.prior.running import as_usual
from sdsr.prior.shapes import SHAPES, shape_prior
from sdsr.prior.shapes_flow import FLOW_SHAPES, flow_shape_prior
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.restorer import Restorer
from sdsr.restoration.sample import refreshed

log = logging.getLogger(__name__)

Given = TypeVar("Given")
Built = TypeVar("Built")
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


@dataclass(frozen=True, slots=True, kw_only=True)
class Macs:
    """Multiply-accumulates, half of the floating-point operations."""

    layers: int = 0
    attention: int = 0

    @property
    def total(self) -> int:
        return self.layers + self.attention

    def __add__(self, other: "Macs") -> "Macs":
        return Macs(layers=self.layers + other.layers, attention=self.attention + other.attention)

    def __mul__(self, times: int) -> "Macs":
        return Macs(layers=times * self.layers, attention=times * self.attention)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A network at work in a method.

    `added`: whether the method brings it, rather than its prior. `trained`: how many of its parameters learn, in some
    stage. MACs: `encode_lq` once for each photo, `one_pass` of the UNet and what advises it, `step` with all passes of
    guidance (what is made of a photo once, a ControlNet's hint, is in the first alone), `decode` with the plan's
    fidelity, and `image`, the sum over the whole plan, with what self-refinement decodes and looks at between steps;
    of what is added inside another network, they are that one's.
    """

    name: str
    added: bool
    parameters: int
    trained: int
    encode_lq: Macs = field(default_factory=Macs)
    one_pass: Macs = field(default_factory=Macs)
    step: Macs = field(default_factory=Macs)
    decode: Macs = field(default_factory=Macs)
    image: Macs = field(default_factory=Macs)


PHASES = ("encode_lq", "one_pass", "step", "decode", "image")


@dataclass(frozen=True, slots=True, kw_only=True)
class Complexity:
    """A method on one photo of `given_px` a side, enlarged to `size_px`, with its plan's number of steps.

    `discriminators` are needed for training only and belong to no sum.
    """

    recipe: str
    prior: str
    given_px: int
    size_px: int
    steps: int
    parts: tuple[Part, ...]
    discriminators: tuple[Part, ...] = ()

    def macs(self, phase: str) -> Macs:
        """Return those of all parts together in one of `PHASES`."""
        return sum((getattr(part, phase) for part in self.parts), Macs())

    @property
    def parameters(self) -> int:
        return sum(part.parameters for part in self.parts)

    @property
    def trained(self) -> int:
        return sum(part.trained for part in self.parts)


def complexity(recipe: Recipe, prior: str | None = None, *, given_px: int = 128, scale: int = 4) -> Complexity:
    """Return the complexity of a method on its prior, or on that of another name; raise InputError where it has none.

    Networks of the prior that never run while a photo is restored are left out; the method's own are all listed.
    """
    if recipe.method is None or recipe.plan is None:
        raise InputError(f"recipe (={recipe.name}) restores nothing; choose one that does (`sdsr models`).")
    prior = prior or recipe.prior
    restorer = _built(recipe.method.build, prior)
    trained, discriminators = _training(recipe, prior)
    if not recipe.stages:
        recipe.learns.apply(dict(restorer.parts.modules.items()))
        trained = _learning(restorer.parts.modules)
    parts = list(_sizes(restorer, trained))
    work = _work(restorer, recipe, given_px=given_px, size_px=scale * given_px)
    return Complexity(
        recipe=recipe.name,
        prior=restorer.prior.name,
        given_px=given_px,
        size_px=scale * given_px,
        steps=len(recipe.plan.times),
        parts=tuple(replace(part, **work.get(part.name, {})) for part in parts if part.added or part.name in work),
        discriminators=tuple(discriminators),
    )


def _built(build: Callable[[str | Prior, str], Built], prior: str) -> Built:
    """What a recipe or stage builds on a prior: on "meta" where its architecture is known, else with weights."""
    if prior not in (*SHAPES, *FLOW_SHAPES):
        return build(prior, "cpu")
    frozen = shape_prior(prior) if prior in SHAPES else flow_shape_prior(prior)
    with torch.device("meta"):  # what the method adds is not made elsewhere first
        return build(frozen, "meta")


def _training(recipe: Recipe, prior: str) -> tuple[dict[str, int], list[Part]]:
    """Return how many parameters of each part learn in some stage, and the discriminators of those that have one."""
    trained: Counter[str] = Counter()
    discriminators = []
    for stage in recipe.stages:
        restorer = _built(stage.build, prior)
        if stage.discriminator is not None:
            discriminators += _discriminator(stage, restorer)
        training_step = stage.objective.training_step(restorer, None)
        trained |= Counter(_learning(training_step.trainable_modules))
    return trained, discriminators


def _discriminator(stage: Stage, restorer: Restorer) -> Iterator[Part]:
    """Yield a stage's discriminator, if it knows the prior's latents and is here; the log says where it is not."""
    assert stage.discriminator is not None
    try:
        with restorer.prior.device:
            parameters = list(stage.discriminator(restorer).parameters())
    except (InputError, ModelError) as error:
        log.warning("%s is counted without its discriminator: %s", stage.name, error)
        return
    learning = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    size = sum(map(torch.numel, parameters))
    yield Part(name=f"discriminator, {stage.name}", added=True, parameters=size, trained=learning)


def _learning(parts: Mapping[str, nn.Module] | nn.ModuleDict) -> dict[str, int]:
    """Return how many parameters of each part require gradients."""
    return {name: sum(p.numel() for p in part.parameters() if p.requires_grad) for name, part in parts.items()}


def _networks(restorer: Restorer) -> dict[str, nn.Module]:
    """The method's parts, then those of the prior which they don't replace, by name, as they are at work."""
    own = dict(restorer.parts.modules.items())
    prior = restorer.prior
    stock = dict(prior.modules.items())
    at_work = {prior.backbone.name: prior.network, "autoencoder": prior.autoencoder.model}
    return own | {name: network for name, network in (stock | at_work).items() if name not in own}


def _sizes(restorer: Restorer, trained: Mapping[str, int]) -> Iterator[Part]:
    """Count parameters; a tensor that several parts hold counts for the smallest of them, the one it was made for."""
    tensors = {name: set(network.parameters()) for name, network in _networks(restorer).items()}
    counted: set[nn.Parameter] = set()
    for name in sorted(tensors, key=lambda name: len(tensors[name])):
        own = tensors[name] - counted
        counted |= own
        tensors[name] = own
    for name, own in tensors.items():
        added = name in restorer.parts.modules
        learning = trained.get(name, 0) if added else 0
        yield Part(name=name, added=added, parameters=sum(map(torch.numel, own)), trained=learning)


def _work(restorer: Restorer, recipe: Recipe, *, given_px: int, size_px: int) -> dict[str, dict[str, Macs]]:
    """Return the MACs of each network that runs, in each of `PHASES`."""
    plan = recipe.plan
    noise = CanvasNoise(seeds=(0,))
    assert plan is not None
    multiple = restorer.prior.multiple_px
    lq_image = LqImage.of(torch.zeros(1, 3, given_px, given_px), (size_px, size_px), multiple)
    networks = _networks(restorer)
    for network in networks.values():
        network.requires_grad_(False)  # the counter would follow gradients, even where none are computed
    # The counter knows matrix products of this attention on every device.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), as_usual():
        encoded, encode_lq = _measured(networks, lambda: restorer.encode_lq(lq_image, None, noise))
        noisy, start = _measured(networks, lambda: restorer.start(encoded, plan.start_time, noise))
        clean, first = _measured(networks, lambda: restorer.denoise(noisy, plan.times[0], encoded, plan.guidance))
        step = _measured(networks, lambda: restorer.denoise(noisy, plan.times[0], encoded, plan.guidance))[1]
        afresh = restorer.encode_lq(lq_image, None, noise)  # of which nothing is kept yet
        one_pass = _measured(networks, lambda: restorer.denoise(noisy, plan.times[0], afresh))[1]
        later = step
        if plan.refinement is not None:
            step = first  # each sees another hint
            look = partial(refreshed, restorer, lq_image, plan.refinement, clean, encoded)
            later = _measured(networks, lambda: restorer.denoise(noisy, plan.times[0], look(), plan.guidance))[1]
        _, decode = _measured(networks, lambda: restorer.decode(clean, lq_image, fidelity=plan.fidelity))
    work = {}
    for name in networks:
        before = encode_lq.get(name, Macs()) + start.get(name, Macs())
        runs = (one_pass, first, step, later, decode)
        each, made, all_passes, renewed, after = (run.get(name, Macs()) for run in runs)
        if any(name in run for run in (encode_lq, start, *runs)):
            image = before + made + renewed * (len(plan.times) - 1) + after
            phases = (before, each, all_passes, after, image)
            work[name] = dict(zip(PHASES, phases, strict=True))
    return work


def _measured(networks: Mapping[str, nn.Module], run: Callable[[], Given]) -> tuple[Given, dict[str, Macs]]:
    """Return what `run` gives, and the MACs of each network that it runs."""
    with _watched(networks) as watch:
        return run(), watch.macs()


class _Watch:
    """Tells apart where the operations that a counter counts happen: in which network, inside a layer or between."""

    def __init__(self, counter: FlopCounterMode) -> None:
        self.counter = counter
        self.at_work: list[tuple[str, bool]] = []
        self.flops: Counter[tuple[str, bool]] = Counter()
        self.settled = 0

    def enter(self, network: str, layer: bool, *_: object) -> None:
        self._settle()
        self.at_work.append((self.at_work[0][0] if self.at_work else network, layer))

    def leave(self, *_: object) -> None:
        self._settle()
        self.at_work.pop()

    def macs(self) -> dict[str, Macs]:
        names = {name for name, _ in self.flops}
        return {
            name: Macs(layers=self.flops[name, True] // 2, attention=self.flops[name, False] // 2) for name in names
        }

    def _settle(self) -> None:
        flops = self.counter.get_total_flops()
        if self.at_work:
            self.flops[self.at_work[-1]] += flops - self.settled
        self.settled = flops


@contextmanager
def _watched(networks: Mapping[str, nn.Module]) -> Iterator[_Watch]:
    """Watch the networks by hooks on their layers, and on their children: an autoencoder is entered at its encoder."""
    with ExitStack() as hooks, FlopCounterMode(display=False) as counter:
        watch = _Watch(counter)
        hooked = set[nn.Module]()
        for name, network in networks.items():
            layers = (module for module in network.modules() if isinstance(module, LAYERS))
            for module in {network, *network.children(), *layers} - hooked:
                hooked.add(module)
                enter = partial(watch.enter, name, isinstance(module, LAYERS))
                hooks.callback(module.register_forward_pre_hook(enter).remove)
                hooks.callback(module.register_forward_hook(watch.leave).remove)
        yield watch
