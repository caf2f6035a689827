"""Canvases are what the published programs make of a photo, which is done here by torch and Pillow themselves."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image as pillow

from sdsr.images.floats import quantize
from sdsr.images.kernels import KEYS
from sdsr.methods.addsr.recipes import CANVAS as SEESR_CANVAS
from sdsr.methods.consissr.recipes import CANVAS as CONSISSR_CANVAS
from sdsr.methods.invsr.recipes import CANVAS as INVSR_CANVAS
from sdsr.methods.one_step.recipes import HYPIR, OSEDIFF
from sdsr.methods.stablesr.recipes import CANVAS as STABLESR_CANVAS
from sdsr.methods.stablesr.recipes import CANVAS_768
from sdsr.restoration.canvas import MOST_NATIVE_SIDES, Canvas
from sdsr.restoration.lq_image import LqImage
from sdsr.tensors import Region

ROUNDED = 3.2 / 255
"""Two enlargements of Pillow's, each rounded to 8 bits in both directions, the first one's rounding enlarged."""
BICUBIC, MULTIPLE = pillow.Resampling.BICUBIC, 64


@pytest.fixture
def lq(photo):
    """A photo of 8 bits, 48 x 60, as the programs read it."""
    return torch.from_numpy(np.array(quantize(photo[..., :48, :60], np.uint8))).permute(2, 0, 1)[None] / 255


def picture(image):
    return pillow.fromarray(quantize(image, np.uint8))


def tensor(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255


def pillows(picture, height, width):
    """Columns first, whatever Pillow thinks is less work."""
    return picture.resize((width, picture.height), BICUBIC).resize((width, height), BICUBIC)


@pytest.mark.parametrize(
    ("canvas", "least"), [(STABLESR_CANVAS, 512), (CANVAS_768, 768)], ids=["stablesr", "stablesr-768v"]
)
@pytest.mark.parametrize("scale", [4, 16])
def test_stablesr_makes_small_results_at_the_priors_size(lq, canvas, least, scale):
    """Enlarged by torch's bicubic, clamped, mirrored to multiples of 32 below and to the right; shrunk by torch's."""
    up = max(least / 48, scale)
    height, width = round(48 * up), int(60 * up)
    enlarged = F.interpolate(lq, size=(height, width), mode="bicubic").clamp(0, 1)
    padded = F.pad(enlarged, (0, -width % 32, 0, -height % 32), mode="reflect")
    lq_image = LqImage.on(canvas, lq, (48 * scale, 60 * scale), MULTIPLE)
    torch.testing.assert_close(lq_image.enlarged(), padded, rtol=0, atol=1e-5)
    assert lq_image.made == Region.whole(height, width)
    assert lq_image.final_size == (48 * scale, 60 * scale)
    if scale == 4:
        assert lq_image.wanted == (192, 240)
        assert lq_image.shrink is canvas.shrink
    else:
        assert lq_image.wanted is None


def test_consissr_enlarges_by_the_scale_and_then_to_512(lq):
    first = pillows(picture(lq), 192, 240)
    second = pillows(first, 512, math.ceil(240 * 512 / 192))
    lq_image = LqImage.on(CONSISSR_CANVAS, lq, (192, 240), MULTIPLE)
    image = lq_image.enlarged()
    assert image.shape == (1, 3, 512, 640)
    torch.testing.assert_close(image, tensor(second), rtol=0, atol=ROUNDED)
    assert (image - tensor(second)).abs().mean() < 0.5 / 255
    assert lq_image.wanted == (192, 240)


def test_consissr_rounds_sides_up(lq):
    assert LqImage.on(CONSISSR_CANVAS, lq[..., :59], (192, 236), MULTIPLE).made == Region.whole(512, 630)


@pytest.mark.parametrize("canvas", [SEESR_CANVAS, OSEDIFF.canvas], ids=["seesr", "osediff"])
def test_seesr_and_osediff_enlarge_the_photo_to_128_and_then_by_the_scale(lq, canvas):
    first = pillows(picture(lq), 128, int(60 * 128 / 48))
    second = pillows(first, 4 * first.height, 4 * first.width)
    lq_image = LqImage.on(canvas, lq, (192, 240), MULTIPLE)
    torch.testing.assert_close(lq_image.enlarged(), tensor(second), rtol=0, atol=ROUNDED)
    assert lq_image.wanted == (192, 240)
    assert LqImage.on(canvas, lq[..., :59], (192, 236), MULTIPLE).made == Region.whole(512, 628)


def test_hypir_enlarges_by_the_scale_and_then_with_antialiasing_and_clamps_nothing(lq):
    hard = (lq > 0.5).float()
    first = F.interpolate(hard, scale_factor=4, mode="bicubic")
    second = F.interpolate(first, size=(512, 640), mode="bicubic", antialias=True)
    assert second.amax() > 1.01
    lq_image = LqImage.on(HYPIR.canvas, hard, (192, 240), MULTIPLE)
    torch.testing.assert_close(lq_image.enlarged(), second, rtol=0, atol=1e-4)


@pytest.mark.parametrize("cut", [(48, 60), (31, 60), (20, 128), (47, 129), (130, 150), (128, 128)])
def test_invsr_mirrors_small_photos_all_around_and_enlarges_that(photo, cut):
    """Reflected above and below, again while it is below 128 px; larger ones at the end, to multiples of 16."""
    wide = torch.cat([photo, photo.flip(-1)], -1)
    lq = torch.cat([wide, wide.flip(-2)], -2)[..., : cut[0], : cut[1]]
    padded = lq
    before = [0, 0]
    for axis in (0, 1):
        pads = [0, 0, 0, 0]
        while (side := padded.shape[2 + axis]) < 128:
            start = min((128 - side) // 2, side - 1)
            pads[2 - 2 * axis], pads[3 - 2 * axis] = start, min(128 - side - start, side - 1)
            padded = F.pad(padded, pads, mode="reflect")
            before[axis] += start
    rest = [-padded.shape[-1] % 16, -padded.shape[-2] % 16]
    padded = F.pad(padded, (0, rest[0], 0, rest[1]), mode="reflect")
    expected = F.interpolate(padded, scale_factor=4, mode="bicubic")
    lq_image = LqImage.on(INVSR_CANVAS, lq, (4 * cut[0], 4 * cut[1]), MULTIPLE)
    torch.testing.assert_close(lq_image.enlarged(), expected, rtol=0, atol=1e-4)
    place = Region(top=4 * before[0], left=4 * before[1], height=4 * cut[0], width=4 * cut[1])
    assert lq_image.made == place
    assert lq_image.wanted is None


def test_invsr_mirrors_the_enlarged_photo_where_the_scale_is_no_whole_number(lq):
    lq_image = LqImage.on(INVSR_CANVAS, lq, (158, 198), MULTIPLE)
    assert (lq_image.region.height, lq_image.region.width) == (512, 512)
    assert lq_image.made == Region.whole(158, 198)
    inside = lq_image.placed(lq_image.made).enlarged()
    torch.testing.assert_close(inside, F.interpolate(lq, (158, 198), mode="bicubic"), rtol=0, atol=1e-5)
    assert lq_image.region.top % 4 == lq_image.region.left % 4 == 0
    middle = lq_image.region.top + lq_image.region.bottom
    assert abs(middle - 158) <= 8


@pytest.mark.parametrize("size", [(192, 240), (60, 2000), (8, 4096), (3000, 1), (511, 513), (2048, 500), (600, 700)])
def test_no_side_of_a_full_size_canvas_is_below_native_and_none_explodes(lq, size):
    lq_image = LqImage.on(Canvas(native_px=512), lq, size, MULTIPLE)
    assert min(lq_image.region.height, lq_image.region.width) >= 512
    made = lq_image.made
    assert lq_image.final_size == size
    if min(size) < 512 and max(size) < MOST_NATIVE_SIDES * 512:
        assert min(made.height, made.width) == 512 or max(made.height, made.width) == MOST_NATIVE_SIDES * 512
    else:
        assert (made.height, made.width) == size
    assert lq_image.enlarged().isfinite().all()


def test_a_margin_mirrors_the_photo_all_around(lq):
    lq_image = LqImage.on(Canvas(margin_px=32), lq, (96, 120), 16)
    image = lq_image.enlarged()
    assert image.shape == (1, 3, 160, 192)
    inside = lq_image.placed(lq_image.made).enlarged()
    assert torch.equal(image, F.pad(inside, (32, 40, 32, 32), mode="reflect"))


def test_what_is_reduced_is_antialiased_whatever_the_kernel(lq):
    reduced = LqImage.on(STABLESR_CANVAS, lq.repeat(1, 1, 40, 40), (960, 1200), MULTIPLE)
    assert reduced.kernel is KEYS
