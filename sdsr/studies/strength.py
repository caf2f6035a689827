"""How strongly a modulated UNet is told of the photo, time by time (StableSR, arXiv:2305.07015, Figure 3).

At each time of a restoration: the cosine similarity of what each residual block adds before and after its modulation,
all cells and channels as one vector; 1 says that nothing was told. Beside it, what the encoder tells: its maps.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from PIL import Image as PillowImage

from sdsr.errors import InputError
from sdsr.images.floats import image
from sdsr.metrics.save import save_image
from sdsr.photos.files import Photo

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sdsr.upscaling import Request, Upscaler

ENCODER = "time_aware_encoder"
MODULATION = "modulation"
"""Parts that make maps of the photo, and that scale and shift by them, in modules with a child `scale`."""

Map = Float[np.ndarray, "h w"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is told at time `t`: the similarity of each layer, by name, and the mean size of each map, by factor.

    A canvas of several windows gives the layers' means over them, and the last window's maps.
    """

    t: int
    similarity: Mapping[str, float]
    maps: Mapping[int, Map]


@dataclass(slots=True)
class _Heard:
    """What the hooks caught since the last time."""

    similarity: dict[str, list[float]] = field(default_factory=dict)
    maps: dict[int, Map] = field(default_factory=dict)

    def taken(self, t: int) -> Moment:
        means = {layer: fmean(values) for layer, values in self.similarity.items()}
        moment = Moment(t=t, similarity=means, maps=dict(self.maps))
        self.similarity.clear()
        return moment


def moments(upscaler: "Upscaler", photo: Photo, request: "Request") -> Iterator[Moment]:
    """Restore a photo, and yield what its UNet is told at each time; raise InputError where nothing is modulated."""
    from sdsr.diffusion.noise import CanvasNoise
    from sdsr.restoration.sample import trajectory

    width, height = request.size(photo.size[1], photo.size[0])
    photograph = upscaler.photograph(image(photo), (height, width))
    restorer = upscaler.windowed((photograph.region.height, photograph.region.width), request.memory_bytes)
    noise, plan = CanvasNoise(seeds=(request.seed,)), upscaler.plan(request.steps)
    with _listening(upscaler) as heard:
        for sampled in trajectory(restorer, photograph, plan, noise, prompt=request.prompt):
            yield heard.taken(sampled.t)


@contextmanager
def _listening(upscaler: "Upscaler") -> Iterator[_Heard]:
    heard, parts = _Heard(), upscaler.restorer.parts.modules
    if MODULATION not in parts or ENCODER not in parts:
        raise InputError(f"model (={upscaler.recipe.name}) modulates nothing; choose a StableSR.")
    modulations = (name for name, _ in parts.get_submodule(MODULATION).named_modules() if name.endswith(".scale"))
    paths = [name.removesuffix(".scale") for name in modulations]
    layers = {path: parts.get_submodule(MODULATION).get_submodule(path) for path in paths}
    encoders = [parts.get_submodule(ENCODER)]
    with ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.callback(layer.register_forward_hook(_comparing(heard, name)).remove)
        for encoder in encoders:
            hooks.callback(encoder.register_forward_hook(_noting(heard)).remove)
        yield heard


def _comparing(heard: _Heard, layer: str) -> Any:
    def compare(module: "nn.Module", args: "tuple[Tensor, Tensor]", modulated: "Tensor") -> None:
        before, after = (features.detach().float().flatten(1) for features in (args[0], modulated))
        cosine = (before * after).sum(1) / (before.norm(dim=1) * after.norm(dim=1)).clamp(min=1e-12)
        heard.similarity.setdefault(layer, []).append(float(cosine.mean()))

    return compare


def _noting(heard: _Heard) -> Any:
    def note(module: "nn.Module", args: tuple[Any, ...], maps: "dict[int, Tensor]") -> None:
        for factor, each in maps.items():
            heard.maps[factor] = each[0].detach().float().abs().mean(0).cpu().numpy()

    return note


Moments = Mapping[str, Sequence[Moment]]
"""What one model told of each photo, by the photo's name."""


def strength_csv(of: Mapping[str, Moments]) -> str:
    """A line for each model, photo, time and layer."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label", "photo", "t", "layer", "similarity"])
    for label, photos in of.items():
        for photo, path in photos.items():
            for moment in path:
                writer.writerows(
                    [label, photo, moment.t, layer, f"{cosine:.6f}"] for layer, cosine in moment.similarity.items()
                )
    return text.getvalue()


def curve(photos: Moments) -> list[tuple[int, float, float]]:
    """Each time, the mean similarity over layers and photos, and the deviation over layers of their means."""
    by_time: dict[int, dict[str, list[float]]] = {}
    for moment in (moment for path in photos.values() for moment in path):
        for layer, cosine in moment.similarity.items():
            by_time.setdefault(moment.t, {}).setdefault(layer, []).append(cosine)
    means = {t: [fmean(values) for values in layers.values()] for t, layers in by_time.items()}
    return [(t, fmean(layers), pstdev(layers)) for t, layers in sorted(means.items(), reverse=True)]


def plot_strength(of: Mapping[str, Moments], target: Path) -> None:
    """The curve of each model, time running from noise to photo; bands are one deviation over layers to each side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for label, photos in of.items():
        times, means, bands = zip(*curve(photos), strict=True)
        (line,) = axes.plot(times, means, marker="." if len(times) < 12 else None, label=label)
        low, high = ([mean + sign * band for mean, band in zip(means, bands, strict=True)] for sign in (-1, 1))
        axes.fill_between(times, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set(xlabel="t", ylabel="cosine similarity")
    axes.invert_xaxis()
    axes.legend()
    _save(figure, target)


def plot_maps(of: Mapping[str, Moments], target: Path, *, columns: int = 6) -> None:
    """The encoder's maps of the first photo: a row for each model and factor, a column for each of a few times.

    A cell is as bright as its map is large there, the mean over channels; a row has one scale.
    """
    from matplotlib.figure import Figure

    paths = {label: next(iter(photos.values())) for label, photos in of.items()}
    rows = [(label, factor) for label, path in paths.items() for factor in path[0].maps]
    shown = {label: _spread(path, columns) for label, path in paths.items()}
    width = max(map(len, shown.values()))
    figure = Figure(figsize=(1.6 * width + 1, 1.4 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), width, squeeze=False)
    for (label, factor), line in zip(rows, grid, strict=True):
        maps = [moment.maps[factor] for moment in shown[label]]
        low, high = min(float(each.min()) for each in maps), max(float(each.max()) for each in maps)
        for axes in line:
            axes.set(xticks=[], yticks=[])
        for axes, moment, each in zip(line, shown[label], maps, strict=False):
            axes.imshow(each, cmap="gray", vmin=low, vmax=high)
            axes.set_title(f"t = {moment.t}", fontsize="small")
        line[0].set_ylabel(f"{label}, 1/{factor}", fontsize="small")
    _save(figure, target)


def _spread(path: Sequence[Moment], count: int) -> list[Moment]:
    """A few of the moments: the first, the last and some between."""
    last = len(path) - 1
    chosen: Iterable[int] = {k * last // max(count - 1, 1) for k in range(count)}
    return [path[index] for index in sorted(chosen)]


def _save(figure: Any, target: Path) -> None:
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=150)
    with PillowImage.open(memory) as picture:
        save_image(picture, target)
