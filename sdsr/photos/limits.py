"""How large a photo and its result may be."""

import math
from dataclasses import dataclass
from typing import Literal

Program = Literal["sdsr upscale", "sdsr serve"]
"""Whose options set limits."""

_FILE_BYTES_PER_PIXEL = 8  # four channels of 16 bits, as they are without compression
_MEGA = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is accepted: pixels in and out, and bytes of a file. `program` is whose options allow more."""

    max_input_pixels: int = 200_000_000
    max_output_pixels: int = 400_000_000
    max_file_bytes: int = 200_000_000 * _FILE_BYTES_PER_PIXEL
    program: Program = "sdsr upscale"


DEFAULT_LIMITS = Limits()
RESULT_LIMITS = Limits(max_input_pixels=DEFAULT_LIMITS.max_output_pixels, max_file_bytes=1 << 32)
"""Of files that may be results: what is written by default is read, too."""
NO_LIMITS = Limits(max_input_pixels=1 << 62, max_output_pixels=1 << 62, max_file_bytes=1 << 40)


def limits_of(max_megapixels: float | int | None, max_output_megapixels: float | int | None = None) -> Limits:
    """Return limits by millions of pixels of a photo and of a result; None leaves the default.

    A larger photo may be a larger file: as large as its pixels are without compression.
    """
    usual = DEFAULT_LIMITS
    photo = usual.max_input_pixels if max_megapixels is None else round(max_megapixels * _MEGA)
    result = usual.max_output_pixels if max_output_megapixels is None else round(max_output_megapixels * _MEGA)
    return Limits(
        max_input_pixels=photo,
        max_output_pixels=result,
        max_file_bytes=max(usual.max_file_bytes, photo * _FILE_BYTES_PER_PIXEL),
    )


def how_to_read(*, pixels: int = 0, file_bytes: int = 0, program: Program = "sdsr upscale") -> str:
    """Return, in words, how a photo of so many pixels, or a file of so many bytes, is let through.

    >>> how_to_read(pixels=250_000_001)
    'allow it by --max-megapixels 251 of `sdsr upscale` (in Python: Limits)'
    >>> how_to_read(pixels=250_000_001, program="sdsr serve")
    'ask whoever runs this service for --max-megapixels 251 (of `sdsr serve`)'
    """
    if file_bytes and program == "sdsr serve":
        return _allowed(f"--max-bytes {math.ceil(file_bytes / (1 << 20))}M", program)
    megapixels = math.ceil(max(pixels, file_bytes / _FILE_BYTES_PER_PIXEL) / _MEGA)
    if file_bytes:
        megapixels = max(megapixels, DEFAULT_LIMITS.max_input_pixels // _MEGA)
    return _allowed(f"--max-megapixels {megapixels}", program)


def how_to_write(pixels: int, program: Program = "sdsr upscale") -> str:
    """Return, in words, how a result of so many pixels is let through."""
    return _allowed(f"--max-output-megapixels {math.ceil(pixels / _MEGA)}", program)


def _allowed(option: str, program: Program) -> str:
    if program == "sdsr serve":  # its users can't set it
        return f"ask whoever runs this service for {option} (of `{program}`)"
    return f"allow it by {option} of `{program}` (in Python: Limits)"
