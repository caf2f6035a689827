"""The picture of docs/small-models.md: what the small methods made with the prior's decoder, and what with theirs.

python bench/small_methods.py --photos TAR --old FOLDER --out docs/images/small-methods.webp

TAR is a shard with the gallery's photos, FOLDER the folder of embedded models of before (`sdsr/assets` at a commit that
has none of these decoders). Two photos of the gallery, degraded as there; of each, the method as it was above, and as
it is below: bicubic and the truth, then InvSR, AddSR, ConsisSR, SeeSR and StableSR. About five minutes on two cores.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.gallery import CHOSEN, SCALE, SIDE_PX, Shown, photos_of
from sdsr.checkpoints.weights import fill_restorer
from sdsr.data.degradation import LowImage, degradation, degrade
from sdsr.errors import SdsrError
from sdsr.images.floats import quantize
from sdsr.methods import METHODS
from sdsr.methods.settings import with_settings
from sdsr.methods.stablesr.recipes import SMALL_METHOD as STABLESR
from sdsr.metrics.planes import Pixels, resized
from sdsr.metrics.save import save_image
from sdsr.metrics.sheet import Cell, cropped, tiled
from sdsr.photos.photo import Photo
from sdsr.request import Request
from sdsr.tensors import Image
from sdsr.upscaling import Upscaler

KINDS = ("stones", "food")
MODELS = ("invsr-small", "addsr-small", "consissr-small", "seesr-small", "stablesr-small")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line `argv`, this process's own if None."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, metavar="TAR", help="a shard with the photos")
    parser.add_argument("--old", type=Path, required=True, metavar="FOLDER", help="the embedded models of before")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the picture, written over another")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(min(2, torch.get_num_threads()))
    try:
        photos = photos_of(arguments.photos)
        upscalers = {name: (old_upscaler(name, arguments.old), Upscaler.from_pretrained(name)) for name in MODELS}
        rows = [row for shown in CHOSEN if shown.kind in KINDS for row in rows_of(shown, photos[shown.key], upscalers)]
        save_image(tiled(rows, SIDE_PX), arguments.out)
    except SdsrError as error:
        raise SystemExit(str(error)) from error
    print(f"{arguments.out}  {arguments.out.stat().st_size / 1000:.0f} kB")


def old_upscaler(name: str, assets: Path) -> Upscaler:
    """Return a small method as it was: decoded by the prior (StableSR by its wrapping), in the photo's colors."""
    recipe = replace(with_settings(METHODS[name], {"method.decoder": None}), color_fix="wavelet")
    assert recipe.method is not None, f"{name} restores"
    restorer = recipe.method.build(recipe.prior)
    fill_restorer(restorer, assets / name)
    steps = {"seesr-small": METHODS["seesr"].plan, "stablesr-small": STABLESR.own_plan}.get(name, recipe.plan)
    assert recipe.plan is not None, f"{name} restores"
    assert steps is not None, f"{name} restores"
    plan = replace(recipe.plan, times=steps.times, fidelity=steps.fidelity)
    return Upscaler(recipe.with_plan(plan), restorer)


def rows_of(shown: Shown, truth: Image, upscalers: dict[str, tuple[Upscaler, Upscaler]]) -> Iterator[list[Cell]]:
    """Yield the rows of one photo: before, and now."""
    lq = degrade(truth, degradation("photo"), [shown.seed])
    small = quantize(lq, np.uint8)
    ends = (
        ("bicubic", resized(small, (small.shape[1] * SCALE, small.shape[0] * SCALE))),
        ("truth", quantize(truth, np.uint8)),
    )
    for place, when in enumerate(("before", "now")):
        label, pixels = ends[place]
        columns = {label: pixels}
        for name, pair in upscalers.items():
            columns[f"{name.removesuffix('-small')} {when}"] = _restored(pair[place], lq)
        yield [Cell(photo=cropped(photo, shown.region), label=label) for label, photo in columns.items()]


def _restored(upscaler: Upscaler, lq: LowImage) -> Pixels:
    return upscaler.upscale(Photo(pixels=quantize(lq, np.uint8)), Request(scale=SCALE)).pixels


if __name__ == "__main__":
    main()
