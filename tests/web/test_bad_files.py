"""Every file that the tests of photos refuse, uploaded: a typed answer, and nothing kept."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sdsr.errors import LimitError
from sdsr.photos.probe import probe
from sdsr.web.settings import SERVICE_LIMITS
from tests.photos import test_foreign, test_hostile, test_unfinished
from tests.pictures import chunk, saved, tiff
from tests.served import SAMPLE, problem
from tests.web.conftest import Indoor

CUTS = (1, 9, 30, 60, 97)
"""Percent that are left of a valid file."""


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG that announces a size, whatever its data holds."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def unlike_photos() -> dict[str, bytes]:
    """Files that open, and aren't the picture of one moment in a known color space."""
    first, second = Image.fromarray(test_hostile.PIXELS), Image.fromarray(test_hostile.PIXELS[::-1])
    several = {"save_all": True, "append_images": [second]}
    return {
        "animated png": saved(first, "PNG", **several),
        "animated webp": saved(first, "WEBP", **several),
        "pages of tiff": saved(first, "TIFF", **several),
        "floats": tiff(test_hostile.PIXELS.astype(np.float32), photometric="rgb"),
        "signed": tiff(test_hostile.PIXELS[..., 0].astype(np.int16), photometric="minisblack"),
        "ycbcr tiff": saved(first.convert("YCbCr"), "TIFF"),
    }


def hostile() -> dict[str, bytes]:
    """What nobody sends who means well."""
    return {
        "nothing": b"",
        "text": b"GET / HTTP/1.1",
        "drawing": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1/'/></svg>",
        "zip named png": b"PK\x03\x04" + bytes(5000),
        "zip bomb": zlib.compress(bytes(10_000_000)),
        "huge png": png(200_000, 200_000, zlib.compress(bytes(1000))),
        "png of zero width": png(0, 5, zlib.compress(b"")),
        "png of too little data": png(400, 400, zlib.compress(bytes(100))),
        "png without data": png(64, 64, b""),
        "head of jpeg": SAMPLE.read_bytes()[:20],
        "jpeg of ones": b"\xff" * 5000,
        "tiff with a wild offset": b"II*\x00\xff\xff\xff\xf0" + bytes(50),
        "tiff that points at itself": b"II*\x00\x08\x00\x00\x00\x01\x00" + bytes(12) + b"\x08\x00\x00\x00",
        "jpeg filled with zeros": _filled(),
        **{f"giant {name}": test_hostile.giant(name) for name in ("png", "cmyk jpeg", "tiff")},
    }


def _filled() -> bytes:
    whole = test_unfinished.jpeg((64, 64), "RGB", 4, quality=95)
    return whole[: len(whole) * 60 // 100].ljust(len(whole) - 2, b"\0")


BAD = {
    **hostile(),
    **unlike_photos(),
    **{name: data for name, (data, _) in test_foreign.FILES.items()},
    **{
        f"{cut} % of {name}": data[: len(data) * cut // 100]
        for name, data in test_hostile.VALID.items()
        for cut in CUTS
    },
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gets_a_typed_answer_and_leaves_nothing(indoor: Indoor, name: str) -> None:
    kept = set((indoor.service.settings.folder / "photos").iterdir())
    reader = indoor.service.checking
    indoor.run(reader.start())
    process = reader.child.process
    assert process is not None
    answer = indoor.post("/v1/photos", files={"photo": ("../../evil.png", BAD[name])})
    details = problem(answer)
    assert details["status"] in (413, 422), answer.text
    assert ";" in details["detail"], "a remedy follows the semicolon"
    assert set((indoor.service.settings.folder / "photos").iterdir()) == kept
    assert reader.child.process is process, "it cost the process that decodes"
    assert process.returncode is None


def test_a_job_for_a_bad_file_is_none(indoor: Indoor) -> None:
    answer = indoor.post("/v1/jobs", files={"photo": ("a.jpg", BAD["text"])}, data={"scale": "2"})
    assert problem(answer)["status"] == 422
    assert indoor.get("/v1/jobs").json()["jobs"] == []


def test_what_is_too_large_names_what_fits_and_the_services_own_options(indoor: Indoor) -> None:
    large = indoor.post("/v1/photos", files={"photo": ("a.png", png(8001, 8000, b""))})
    assert problem(large)["detail"].endswith(
        "limit 64 MP; crop or shrink it, or ask whoever runs this service for --max-megapixels 65 (of `sdsr serve`)."
    )
    result = indoor.post(
        "/v1/jobs", files={"photo": ("a.png", saved(Image.new("1", (1001, 1001)), "PNG"))}, data={"scale": "16"}
    )
    assert problem(result)["detail"].endswith(
        "exceeds 256 MP; enlarge less (15.97 times fits), or ask whoever runs this service for "
        "--max-output-megapixels 257 (of `sdsr serve`)."
    )
    heavy = replace(SERVICE_LIMITS, max_file_bytes=1 << 20)
    with pytest.raises(LimitError, match=r"; ask whoever runs this service for --max-bytes 2M \(of `sdsr serve`\)\.$"):
        probe(bytes(3 << 19), heavy)
