"""Folders of trained methods, without their tensors: where they are, and what `method.json` says of them."""

import json
import logging
from pathlib import Path
from typing import Required, TypedDict

from sdsr.digests import combined_sha256
from sdsr.errors import ModelError

log = logging.getLogger(__name__)

FORMAT = 1
_REMEDY = "give a folder that `sdsr export` or `sdsr convert` wrote."
DESCRIPTION = "method.json"
_FORMER = {"inherited": "of_prior", "upon": "base"}
"""What earlier folders call them."""
_UNSAID = {"d3sr-small": ("prompt.safetensors", {"levels": "all"})}
"""Settings of a recipe's method that earlier folders, which have this file, leave unsaid: there was no other then."""

ASSETS = Path(__file__).parent / "assets"


class Base(TypedDict):
    """A folder beside the described one, the sha256 of its files in use, and which of their tensors are."""

    folder: str
    files: dict[str, str]
    tensors: dict[str, list[str]]


class MethodDescription(TypedDict, total=False):
    """A `method.json`: what trained parts belong to, and how they came to be.

    `files` are the sha256 by name. `of_prior`: the names of tensors that are in no file, being the prior's, by part.
    `base`: where some of the tensors are (the folder is a delta on it). `method`: changed settings of its method.
    """

    format: Required[int]
    recipe: Required[str]
    prior: Required[str]
    prior_sha256: Required[str]
    times: Required[list[int]]
    files: Required[dict[str, str]]
    of_prior: dict[str, list[str]]
    base: Base
    method: dict[str, object]
    licence: str
    version: str


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


def read_description(folder: Path) -> MethodDescription:
    """Return what `write_parts` noted; raise ModelError where there is nothing of the kind."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ModelError(f"method (={folder}) has no {DESCRIPTION}; {_REMEDY}")
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(
            f"{path} can't be read ({error}); export or convert the method again, or reinstall sdsr."
        ) from error
    if not isinstance(noted, dict):
        raise ModelError(f"{path} is no description of a method; {_REMEDY}")
    if noted.get("format") != FORMAT:
        raise ModelError(f"format (={noted.get('format')}) of {path} must be {FORMAT}; update sdsr.")
    description = MethodDescription(**noted)
    for former, name in _FORMER.items():
        if former in noted:
            description[name] = noted[former]
            del description[former]
    missing = sorted(MethodDescription.__required_keys__ - description.keys())
    if missing:
        raise ModelError(f"{path} doesn't tell {', '.join(missing)}; {_REMEDY}")
    if description["recipe"] in _UNSAID:
        file, settings = _UNSAID[description["recipe"]]
        if file in description["files"]:
            description["method"] = settings | description.get("method", {})
    return description


def weights_sha256(description: MethodDescription) -> str:
    """Return one sha256 for all weights of a method: its files, those of its base, and its prior's.

    It is that of the files as they are stored, so it is the same on every device.
    """
    of_base = description["base"]["files"].values() if "base" in description else ()
    return combined_sha256([description["prior_sha256"], *description["files"].values(), *of_base])
