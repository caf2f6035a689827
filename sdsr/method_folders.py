"""Folders of trained methods, without their tensors: where they are, and what `method.json` says of them."""

import json
from pathlib import Path
from typing import Any

from sdsr.errors import ModelError

FORMAT = 1
DESCRIPTION = "method.json"
ASSETS = Path(__file__).parent / "assets"


def read_description(folder: Path) -> dict[str, Any]:
    """Return what `write_parts` noted; raise ModelError where there is nothing of the kind."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ModelError(f"method (={folder}) has no {DESCRIPTION}; give a folder that `sdsr export` wrote.")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} can't be read ({error}); export the method again, or reinstall sdsr.") from error
    if description.get("format") != FORMAT:
        raise ModelError(f"format (={description.get('format')}) of {path} must be {FORMAT}; update sdsr.")
    return description
