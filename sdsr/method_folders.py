"""Folders of trained methods, without their tensors: where they are, and what `method.json` says of them."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdsr.digests import combined_sha256
from sdsr.errors import ModelError

log = logging.getLogger(__name__)

FORMAT = 1
DESCRIPTION = "method.json"
OF_PRIOR = "of_prior"
"""In a description: the names of tensors that are in no file, being the prior's, by part."""

BASE = "base"
"""In a description: the folder beside this one whose files have some of the tensors (this one is a delta on it)."""

_FORMER = {"inherited": OF_PRIOR, "upon": BASE}
"""What earlier folders call them."""

ASSETS = Path(__file__).parent / "assets"


def embedded_methods() -> dict[str, Path]:
    """Return the folders of the methods whose weights come with the package, by name."""
    return {path.name: path for path in sorted(ASSETS.iterdir()) if (path / DESCRIPTION).is_file()}


def find_method(model: str | Path) -> Path | None:
    """Return where the weights of a model are: embedded, or a folder, which a `Path` always is; None for neither."""
    embedded = embedded_methods()
    if isinstance(model, str) and model in embedded:
        if Path(model).is_dir():
            log.warning("model (=%s) is the embedded one; write ./%s for the folder of that name.", model, model)
        return embedded[model]
    return Path(model) if Path(model).is_dir() else None


def read_description(folder: Path) -> dict[str, Any]:
    """Return what `write_parts` noted; raise ModelError where there is nothing of the kind."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ModelError(f"method (={folder}) has no {DESCRIPTION}; give a folder that `sdsr export` wrote.")
    try:
        description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} can't be read ({error}); export the method again, or reinstall sdsr.") from error
    if description.get("format") != FORMAT:
        raise ModelError(f"format (={description.get('format')}) of {path} must be {FORMAT}; update sdsr.")
    return {_FORMER.get(key, key): value for key, value in description.items()}


def weights_sha256(description: Mapping[str, Any]) -> str:
    """Return one sha256 for all weights of a method: its files, those of its base, and its prior's.

    It is that of the files as they are stored, so it is the same on every device.
    """
    of_base = description.get(BASE, {}).get("files", {})
    return combined_sha256([description["prior_sha256"], *description["files"].values(), *of_base.values()])
