"""Which method restores, known by its sha256 before any weights are loaded: nothing is, where nothing is to do."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdsr.models import find_model

if TYPE_CHECKING:
    from sdsr.jobs import JobMaker


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A method that is loaded when the first photo needs it; `name` is its recipe's.

    `sha256` stands for all that makes its results besides photo and settings.
    """

    name: str
    sha256: str
    load: Callable[[], "JobMaker"]

    @classmethod
    def described(cls, model: str | Path, load: Callable[[], "JobMaker"]) -> "Model":
        """Return the method of that name or folder, as its description says.

        The description holds the sha256 of the method's files and of its prior, and loading refuses any others. Raises
        InputError or ModelError where there is no such method.
        """
        found = find_model(model)
        return cls(name=found.recipe_name, sha256=found.sha256, load=load)
