"""The pictures of docs/gallery.md: twelve photos restored by bicubic, the default as it was and is, and its teacher.

python bench/gallery.py --photos TAR --old FOLDER --teacher FILE --out docs/images/gallery [--only KIND ...]

TAR is a shard with the photos named below, FOLDER holds the default's weights of before it had a decoder of its own,
FILE Real-ESRGAN x4plus in its published layout. For each photo one strip of squares is written, one pixel for one, in
the order: bicubic, old, new at fidelity 0 (the default), 0.5 and 1, teacher, truth. About three minutes on two cores.

Chosen before any result was seen, from the truth alone: of each of twelve kinds the first photo, in the shard's order,
whose licence (CC0, CC BY, CC BY-SA, public domain) allows to show it and whose author or publisher is known; of that
photo the square that shows the kind. Photo i is degraded by the table "photo" with seed i. Those of FAILURES were
chosen afterwards, as examples of what goes wrong.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from sdsr.checkpoints.weights import fill_restorer
from sdsr.data.degradation import LowImage, degradation, degrade
from sdsr.data.photos import open_photos
from sdsr.errors import InputError, SdsrError
from sdsr.images.floats import quantize
from sdsr.losses.real_esrgan import RealEsrgan, load_real_esrgan
from sdsr.methods.one_step.recipes import D3SR_SMALL, PLAN
from sdsr.methods.one_step.small import SmallOneStep
from sdsr.metrics.planes import Pixels, resized
from sdsr.metrics.save import save_image
from sdsr.metrics.sheet import Cell, cropped, tiled
from sdsr.models import DEFAULT_MODEL
from sdsr.photos.photo import Photo
from sdsr.request import Request
from sdsr.tensors import Image, Region
from sdsr.upscaling import Upscaler

SIDE_PX = 192
SCALE = 4
OLD = replace(D3SR_SMALL, method=SmallOneStep(own_plan=replace(PLAN, fidelity=0.0)), color_fix="wavelet")
"""The default as it was: decoded by the prior, its colors fixed by wavelets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A photo by its key in the shard, the square of its truth that is shown, and the seed of its degradation."""

    kind: str
    key: str
    x: int
    y: int
    seed: int

    @property
    def region(self) -> Region:
        return Region(top=self.y, left=self.x, height=SIDE_PX, width=SIDE_PX)


CHOSEN = (
    Shown(kind="stones", key="cid002", x=288, y=128, seed=1),
    Shown(kind="animal", key="cid027", x=224, y=48, seed=2),
    Shown(kind="building", key="cid056", x=64, y=176, seed=3),
    Shown(kind="street", key="cid068", x=0, y=240, seed=4),
    Shown(kind="food", key="cid107", x=48, y=192, seed=5),
    Shown(kind="text", key="cid148", x=144, y=144, seed=6),
    Shown(kind="foliage", key="cid171", x=288, y=32, seed=7),
    Shown(kind="thin-lines", key="cid188", x=208, y=208, seed=8),
    Shown(kind="face", key="cid206", x=112, y=128, seed=9),
    Shown(kind="fabric", key="cid203", x=224, y=160, seed=10),
    Shown(kind="water-and-sky", key="solus003", x=192, y=224, seed=11),
    Shown(kind="night", key="dca002", x=288, y=128, seed=12),
)

FAILURES = (
    Shown(kind="small-text", key="cid148", x=160, y=288, seed=20),
    Shown(kind="small-faces", key="f18061", x=320, y=176, seed=20),
    Shown(kind="regular-texture", key="cid171", x=64, y=64, seed=20),
    Shown(kind="noise", key="cid206", x=112, y=128, seed=48),
)
"""Of the first 60 seeds, 20 leaves a photo the sharpest and 48 the noisiest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restorers:
    """All that restores."""

    old: Upscaler
    new: Upscaler
    teacher: RealEsrgan

    @torch.inference_mode()
    def columns(self, lq: LowImage) -> Iterator[tuple[str, Pixels]]:
        """Yield labels and results of an LQ photo, (1, 3, h, w), in the order in which they are shown."""
        small = quantize(lq, np.uint8)
        yield "bicubic", resized(small, (small.shape[1] * SCALE, small.shape[0] * SCALE))
        yield "old default", _restored(self.old, small)
        assert self.new.recipe.plan is not None, "it restores"
        default = self.new.recipe.plan.fidelity
        for fidelity in sorted({0.0, 0.5, default, 1.0}):
            note = " (default)" if fidelity == default else ""
            yield f"new, {fidelity:g}{note}", _restored(self.new, small, fidelity)
        yield "Real-ESRGAN x4+", quantize(self.teacher(lq), np.uint8)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line `argv`, this process's own if None."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, metavar="TAR", help="a shard with the photos")
    parser.add_argument("--old", type=Path, required=True, metavar="FOLDER", help="the default's weights of before")
    parser.add_argument("--teacher", type=Path, required=True, metavar="FILE", help="Real-ESRGAN x4plus")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where strips are written, over others"
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help="what is new: a method's name or folder")
    parser.add_argument("--only", nargs="+", default=[], metavar="KIND", help="leave the other strips as they are")
    arguments = parser.parse_args(argv)
    try:
        draw(arguments)
    except SdsrError as error:
        raise SystemExit(str(error)) from error


def draw(arguments: argparse.Namespace) -> None:
    """Write all strips, and print the size of each."""
    torch.set_num_threads(min(2, torch.get_num_threads()))
    restorers = Restorers(
        old=old_upscaler(arguments.old),
        new=Upscaler.from_pretrained(arguments.model),
        teacher=load_real_esrgan(arguments.teacher),
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    photos = photos_of(arguments.photos)
    for name, shown in strips():
        if arguments.only and shown.kind not in arguments.only:
            continue
        columns = columns_of(restorers, photos[shown.key], shown.seed)
        target = arguments.out / f"{name}.webp"
        cells = [Cell(photo=cropped(photo, shown.region), label=label) for label, photo in columns.items()]
        save_image(tiled([cells], SIDE_PX), target)
        print(f"{target}  {target.stat().st_size / 1000:.0f} kB", flush=True)
    print(f"{sum(path.stat().st_size for path in arguments.out.glob('*.webp')) / 1e6:.2f} MB in all")


def strips() -> Iterator[tuple[str, Shown]]:
    """Yield the names of the strips' files, and what they show."""
    for number, shown in enumerate(CHOSEN, start=1):
        yield f"{number:02d}-{shown.kind}", shown
    for shown in FAILURES:
        yield f"fails-{shown.kind}", shown


def columns_of(restorers: Restorers, truth: Image, seed: int) -> dict[str, Pixels]:
    """Degrade a photo, restore it by all, and return the results and the truth by their labels."""
    lq = degrade(truth, degradation("photo"), [seed])
    return {**dict(restorers.columns(lq)), "truth": quantize(truth, np.uint8)}


def old_upscaler(folder: Path) -> Upscaler:
    """Return the default with the weights that it had before it got a decoder; ModelError where they are damaged."""
    restorer = OLD.restoring.build(D3SR_SMALL.prior)
    fill_restorer(restorer, folder)
    return Upscaler(OLD, restorer)


def photos_of(shard: Path) -> dict[str, Image]:
    """Return the named photos of the shard, cut to whole LQ pixels; InputError where one is not there."""
    photos = open_photos(shard)
    places = {entry.key: index for index, entry in enumerate(photos.entries)}
    found = {}
    for shown in (*CHOSEN, *FAILURES):
        if shown.key not in places:
            raise InputError(f"photo (={shown.key}) is not in {shard}; give the shard that the gallery is made of.")
        pixels = photos[places[shown.key]]
        height, width = (side // SCALE * SCALE for side in pixels.shape[-2:])
        found[shown.key] = pixels[None, :, :height, :width].float() / 255
    return found


def _restored(upscaler: Upscaler, lq: Pixels, fidelity: float | None = None) -> Pixels:
    return upscaler.upscale(Photo(pixels=lq), Request(scale=SCALE, fidelity=fidelity)).pixels


if __name__ == "__main__":
    main()
