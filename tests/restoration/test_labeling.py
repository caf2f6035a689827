"""The step that a label tells of: what was settled, and nothing of the machine."""

import hashlib

import numpy as np

from sdsr.photos.photo import Photo
from sdsr.restoration.labeling import step_of
from sdsr.restoration.plan import Plan

PIXELS = np.arange(24, dtype=np.uint16).reshape(2, 4, 3) * 1000


def facts(photo: Photo, **changed):
    told = {
        "model": "stablesr-small",
        "weights_sha256": "cd" * 32,
        "size": (48, 64),
        "seed": 3,
        "plan": Plan(times=(900, 500, 100), fidelity=0.75),
        "color_fix": "adain",
        "own_decoder": True,
        "prompt": "a cat",
    }
    return step_of(photo, **(told | changed)).facts


def test_a_step_says_what_was_settled():
    assert facts(Photo(pixels=PIXELS, source_sha256="ab" * 32)) == {
        "weightsSha256": "cd" * 32,
        "inputSha256": "ab" * 32,
        "width": "64",
        "height": "48",
        "seed": "3",
        "times": "900 500 100",
        "fidelity": "0.75",
        "colorFix": "adain",
        "prompt": "a cat",
    }


def test_what_a_method_has_not_is_not_said():
    told = facts(Photo(pixels=PIXELS), own_decoder=False, prompt=None, weights_sha256=None)
    assert told.keys() == {"inputPixelsSha256", "width", "height", "seed", "times", "colorFix"}


def test_a_picture_from_no_file_is_named_by_its_pixels_and_alpha():
    alpha = np.arange(8, dtype=np.uint16).reshape(2, 4)
    own = PIXELS.astype("<u2").tobytes()
    assert facts(Photo(pixels=PIXELS))["inputPixelsSha256"] == hashlib.sha256(own).hexdigest()
    both = facts(Photo(pixels=PIXELS, alpha=alpha))["inputPixelsSha256"]
    assert both == hashlib.sha256(own + alpha.astype("<u2").tobytes()).hexdigest()
    flipped = Photo(pixels=PIXELS[::-1, :, ::-1])
    assert facts(flipped)["inputPixelsSha256"] != hashlib.sha256(own).hexdigest()
