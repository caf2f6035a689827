import numpy as np
import pytest

from sdsr.errors import InputError
from sdsr.metrics.sheet import Cell, busiest_region, contact_sheet, cropped, grid_of, parse_region
from sdsr.tensors import Region


def test_busiest_region_finds_the_texture():
    photo = np.full((200, 300, 3), 128, np.uint8)
    photo[96:144, 200:248] = np.random.default_rng(0).integers(0, 255, (48, 48, 1))
    assert busiest_region(photo, 48) == Region(top=96, left=200, height=48, width=48)
    assert busiest_region(photo, 500) == Region(top=0, left=56, height=200, width=200)


def test_regions_are_written_x_y_size_and_stay_inside():
    region = parse_region("8,16,32")
    photo = np.zeros((48, 40, 3), np.uint8)
    assert cropped(photo, region).shape == (32, 32, 3)
    for text in ("9,16,32", "8,17,32", "-1,0,4", "0,0,0"):
        with pytest.raises(InputError, match="48"):
            cropped(photo, parse_region(text))
    with pytest.raises(InputError, match="1,2"):
        parse_region("1,2")


def test_sheet_shows_photo_and_crop_in_each_column():
    red, blue = (np.broadcast_to(np.array(color, np.uint8), (64, 64, 3)) for color in ((200, 0, 0), (0, 0, 200)))
    region = Region(top=8, left=8, height=16, width=16)
    sheet = np.asarray(contact_sheet({"red": [red], "blue": [blue]}, names=["a"], regions=[region], cell_px=128))
    assert sheet.shape[1] == 2 * 136 + 8
    for top in (8, 8 + 136):
        assert (sheet[top + 2, 10] == red[0, 0]).all()
        assert (sheet[top + 2, 10 + 136] == blue[0, 0]).all()
    assert (sheet[8 + 2 * 8, 8 + 2 * 12] == (230, 30, 30)).all()
    label = sheet[8 + 136 + 128 : 8 + 136 + 150, 8:136]
    assert (label < 100).any()


def test_a_row_is_as_high_as_its_highest_photo():
    wide, square = np.zeros((20, 80, 3), np.uint8), np.zeros((40, 40, 3), np.uint8)
    assert contact_sheet({"a": [wide], "b": [wide]}, cell_px=64).height == 8 + 16 + 22 + 8
    sheet = np.asarray(contact_sheet({"a": [wide], "b": [square]}, cell_px=64))
    assert sheet.shape[0] == 8 + 64 + 22 + 8
    assert (sheet[8 + 64 + 2 :, 8:72] < 100).any(), "the label stands below the row"
    assert (sheet[8 + 16 : 8 + 64, 8:72] == 250).all()


def test_16_bit_and_small_photos_are_shown():
    deep = np.full((3, 9, 3), 65535, np.uint16)
    sheet = grid_of([Cell(photo=deep, label="a label that is much too long for its cell")] * 5, cell_px=64)
    assert sheet.width == 3 * 72 + 8
    assert sheet.getpixel((10, 10)) == (255, 255, 255)
    with pytest.raises(InputError):
        grid_of([])
