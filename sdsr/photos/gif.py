"""Open GIF of one picture, as scanners and old web pages have it; what is made of it is a PNG. Source: GIF89a.

Written it isn't: a restored photo has more colors than the 256 of a GIF.
"""

import io

import numpy as np
from PIL.GifImagePlugin import GifImageFile

from sdsr.errors import InputError
from sdsr.photos.notes import Notes
from sdsr.photos.opened import Opened

_XMP = b"\x21\xff\x0bXMP DataXMP"
_XMP_END = b"\x01\xff\xfe\xfd"  # of 258 bytes, by which a reader of blocks finds out of the packet


def open_gif(data: bytes) -> Opened:
    """Open a GIF of one frame. Raises InputError for an animation."""
    picture = GifImageFile(io.BytesIO(data))
    if picture.n_frames > 1:
        raise InputError(
            f"the GIF is an animation (={picture.n_frames} frames), limit 1; save its frames as PNG and restore those."
        )
    gray = _is_gray(picture)
    alpha = "transparency" in picture.info
    comment = picture.info.get("comment")
    return Opened(
        format="PNG",
        width=picture.width,
        height=picture.height,
        bits=8,
        space="GRAY" if gray else "RGB",
        alpha=alpha,
        icc=None,
        exif=None,
        xmp=_packet(data),
        dpi=None,
        notes=Notes(comments=(comment,) if isinstance(comment, bytes) and comment else ()),
        lossless=True,
        decode=lambda: _decode(picture, gray=gray, alpha=alpha),
    )


def _is_gray(picture: GifImageFile) -> bool:
    """Whether all colors of the palette are; Pillow says L where there is none or it is gray in order."""
    if picture.mode == "L" or picture.palette is None:
        return True
    colors = np.frombuffer(bytes(picture.palette.palette), np.uint8)
    colors = colors[: len(colors) // 3 * 3].reshape(-1, 3)
    return bool((colors == colors[:, :1]).all())


def _decode(picture: GifImageFile, *, gray: bool, alpha: bool) -> np.ndarray:
    picture.load()
    mode = ("LA" if alpha else "L") if gray else ("RGBA" if alpha else "RGB")
    return np.atleast_3d(np.asarray(picture.convert(mode)))


def _packet(data: bytes) -> bytes | None:
    start = data.find(_XMP)
    end = data.find(_XMP_END, start)
    return data[start + len(_XMP) : end] if 0 <= start < end else None
