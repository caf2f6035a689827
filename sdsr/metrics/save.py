"""Reports and sheets into files: never over an existing one unless told, and checked before the work begins."""

import io
from pathlib import Path

from PIL import Image as PillowImage

from sdsr.errors import InputError, OutputError
from sdsr.photos.parts import whole_file

_IMAGES = (".png", ".jpg", ".jpeg", ".webp")


def check_target(target: Path, *, overwrite: bool = False, image: bool = False) -> None:
    """Raises before anything is computed: OutputError for a place, InputError for a suffix that can't be."""
    if image and target.suffix.lower() not in _IMAGES:
        raise InputError(f"{target} must end in one of {', '.join(_IMAGES)}; rename it.")
    if not target.parent.is_dir():
        raise OutputError(f"{target.parent} is not a folder; create it first.")
    if target.is_dir() or (target.exists() and not overwrite):
        raise OutputError(f"{target} exists; choose another name or pass --overwrite.")


def save_text(text: str, target: Path) -> None:
    """The text as UTF-8; of names that are no text, the bytes are escaped."""
    save_bytes(text.encode(errors="backslashreplace"), target)


def save_image(image: PillowImage.Image, target: Path) -> None:
    """The picture in the format of the file's suffix; JPEG and WebP at quality 92."""
    memory = io.BytesIO()
    try:
        image.save(memory, PillowImage.registered_extensions()[target.suffix.lower()], quality=92)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{target} can't hold {image.width}x{image.height} px (={error}); choose PNG or fewer photos."
        ) from error
    save_bytes(memory.getvalue(), target)


def save_bytes(content: bytes, target: Path) -> None:
    """Written beside the target, then renamed: a failure leaves nothing, a reader never sees half a file."""
    try:
        with whole_file(target) as part:
            part.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{target} can't be written (={error.strerror}); check the folder and its space.") from error
