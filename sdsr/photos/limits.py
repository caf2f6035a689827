"""How large a photo and its result may be."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is accepted: pixels in and out, bytes of a file, and memory (bytes) for the output; None is no limit."""

    max_input_pixels: int = 200_000_000
    max_output_pixels: int = 400_000_000
    max_file_bytes: int = 1 << 30
    max_memory_bytes: int | None = None


DEFAULT_LIMITS = Limits()
NO_LIMITS = Limits(max_input_pixels=1 << 62, max_output_pixels=1 << 62, max_file_bytes=1 << 40)
