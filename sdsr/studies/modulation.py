"""How strongly a modulated UNet is told of the photo, time by time (StableSR, arXiv:2305.07015, Figure 3).

At each time of a restoration: the cosine similarity of what each residual block adds before and after its modulation,
all cells and channels as one vector; 1 says that nothing was told. Beside it, what the encoder tells: its SFT features.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, pstdev

import numpy as np
from torch import Tensor, nn

from sdsr.errors import InputError
from sdsr.metrics.plots import Point, plot_curves, save_figure
from sdsr.metrics.tables import csv_text, spread
from sdsr.photos.files import Photo
from sdsr.tensors import Float
from sdsr.upscaling import Request, Upscaler

ENCODER = "time_aware_encoder"
MODULATION = "modulation"
"""Parts that make SFT features of the photo, and that scale and shift by them, in modules with a child `scale`."""

Hook = Callable[..., None]
Map = Float[np.ndarray, "h w"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is told at time `t`: the similarity of each layer, by name, and the mean size of each map, by factor.

    A canvas of several windows gives the layers' means over them, and the last window's SFT features.
    """

    t: int
    similarity: Mapping[str, float]
    sft_features: Mapping[int, Map]


@dataclass(slots=True)
class _Heard:
    """What the hooks caught since the last time."""

    similarity: dict[str, list[float]] = field(default_factory=dict)
    sft_features: dict[int, Map] = field(default_factory=dict)

    def taken(self, t: int) -> Moment:
        means = {layer: fmean(values) for layer, values in self.similarity.items()}
        moment = Moment(t=t, similarity=means, sft_features=dict(self.sft_features))
        self.similarity.clear()
        return moment


def moments(upscaler: Upscaler, photo: Photo, request: Request) -> Iterator[Moment]:
    """Restore a photo, and yield what its UNet is told at each time; raise InputError where nothing is modulated."""
    job = upscaler.job(photo, request)
    with _listening(upscaler) as heard:
        for sampled in job.steps():
            yield heard.taken(sampled.t)


@contextmanager
def _listening(upscaler: Upscaler) -> Iterator[_Heard]:
    heard = _Heard()
    parts = upscaler.restorer.parts.modules
    if MODULATION not in parts or ENCODER not in parts:
        raise InputError(f"model (={upscaler.recipe.name}) modulates nothing; choose a StableSR.")
    modulations = (name for name, _ in parts.get_submodule(MODULATION).named_modules() if name.endswith(".scale"))
    paths = [name.removesuffix(".scale") for name in modulations]
    layers = {path: parts.get_submodule(MODULATION).get_submodule(path) for path in paths}
    with ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.callback(layer.register_forward_hook(_comparing(heard, name)).remove)
        hooks.callback(parts.get_submodule(ENCODER).register_forward_hook(_noting(heard)).remove)
        yield heard


def _comparing(heard: _Heard, layer: str) -> Hook:
    def compare(module: nn.Module, args: tuple[Tensor, Tensor], modulated: Tensor) -> None:
        before, after = (features.detach().float().flatten(1) for features in (args[0], modulated))
        cosine = (before * after).sum(1) / (before.norm(dim=1) * after.norm(dim=1)).clamp(min=1e-12)
        heard.similarity.setdefault(layer, []).append(float(cosine.mean()))

    return compare


def _noting(heard: _Heard) -> Hook:
    def note(module: nn.Module, args: tuple[object, ...], sft_features: dict[int, Tensor]) -> None:
        for factor, each in sft_features.items():
            heard.sft_features[factor] = each[0].detach().float().abs().mean(0).cpu().numpy()

    return note


Moments = Mapping[str, Sequence[Moment]]
"""What one model told of each photo, by the photo's name."""


def modulation_csv(of: Mapping[str, Moments]) -> str:
    """A line for each model, photo, time and layer."""
    lines = [
        [label, photo, moment.t, layer, cosine]
        for label, photos in of.items()
        for photo, path in photos.items()
        for moment in path
        for layer, cosine in moment.similarity.items()
    ]
    return csv_text([["label", "photo", "t", "layer", "similarity"], *lines])


def curve(photos: Moments) -> list[Point]:
    """Each time, the mean similarity over layers and photos, and the deviation over layers of their means."""
    by_time: dict[int, dict[str, list[float]]] = {}
    for moment in (moment for path in photos.values() for moment in path):
        for layer, cosine in moment.similarity.items():
            by_time.setdefault(moment.t, {}).setdefault(layer, []).append(cosine)
    means = {t: [fmean(values) for values in layers.values()] for t, layers in by_time.items()}
    return [
        Point(t=t, mean=fmean(layers), deviation=pstdev(layers)) for t, layers in sorted(means.items(), reverse=True)
    ]


def plot_similarity(of: Mapping[str, Moments], target: Path) -> None:
    """The curve of each model, time running from noise to photo; bands are one deviation over layers to each side."""
    plot_curves({"cosine similarity": {label: curve(photos) for label, photos in of.items()}}, target)


def plot_maps(of: Mapping[str, Moments], target: Path, *, columns: int = 6) -> None:
    """The encoder's SFT features of the first photo: a row for each model and factor, a column for each of a few times.

    A cell is as bright as its map is large there, the mean over channels; a row has one scale.
    """
    from matplotlib.figure import Figure

    paths = {label: next(iter(photos.values())) for label, photos in of.items()}
    rows = [(label, factor) for label, path in paths.items() for factor in path[0].sft_features]
    shown = {label: spread(path, columns) for label, path in paths.items()}
    width = max(map(len, shown.values()))
    figure = Figure(figsize=(1.6 * width + 1, 1.4 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), width, squeeze=False)
    for (label, factor), line in zip(rows, grid, strict=True):
        sft_features = [moment.sft_features[factor] for moment in shown[label]]
        low = min(float(each.min()) for each in sft_features)
        high = max(float(each.max()) for each in sft_features)
        for axes in line:
            axes.set(xticks=[], yticks=[])
        for axes, moment, each in zip(line, shown[label], sft_features, strict=False):
            axes.imshow(each, cmap="gray", vmin=low, vmax=high)
            axes.set_title(f"t = {moment.t}", fontsize="small")
        line[0].set_ylabel(f"{label}, 1/{factor}", fontsize="small")
    save_figure(figure, target)
