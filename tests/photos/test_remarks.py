"""Remarks on a photo's metadata name its file, whichever module makes them."""

import io
from dataclasses import replace

from PIL import Image

from sdsr.photos.files import read_photo, write_photo
from sdsr.photos.remarks import Remarks


def tiff_with_pages_described() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), "teal").save(buffer, "TIFF", description="ImageJ=1.53\nslices=3")
    return buffer.getvalue()


def test_a_remark_on_metadata_names_the_file(tmp_path, caplog):
    path = tmp_path / "100%s old.tif"
    path.write_bytes(tiff_with_pages_described())
    read_photo(path)
    assert "100%s old.tif: the description is of the file's layout (ImageJ=1.53 ...)" in caplog.text


def test_a_remark_on_what_is_written_names_the_target(tmp_path, caplog):
    photo = read_photo(tiff_with_pages_described())
    named = replace(photo, traits=replace(photo.traits, credentials=True))
    write_photo(named, tmp_path / "new.png")
    assert "new.png: the photo's Content Credentials (C2PA)" in caplog.text


def test_remarks_outside_of_any_photo_stay_as_they_are(caplog):
    Remarks("sdsr.photos").warning("%d tags", 2)
    assert caplog.messages == ["2 tags"]
