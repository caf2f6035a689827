"""What is told of recipes, known without torch; each folder's `FACTS` says it of its own."""

from collections.abc import Iterable
from dataclasses import dataclass

from sdsr.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFacts:
    """A recipe's name, paper (empty for none), summary, and its prior: a name, or a folder that a run writes.

    `steps` are those of its own plan; None for what is only trained: no photo is restored by its name.
    """

    name: str
    paper: str = ""
    summary: str
    prior: str = ""
    steps: int | None = None


class FactsByName(dict[str, RecipeFacts]):
    """What a package says of its recipes, by name; InputError for a name of which it says nothing."""

    def __init__(self, package: str, facts: Iterable[RecipeFacts]) -> None:
        super().__init__((each.name, each) for each in facts)
        self.package = package

    def __missing__(self, name: str) -> RecipeFacts:
        file = f"{self.package.replace('.', '/')}/__init__.py"
        raise InputError(f"recipe (={name}) has no facts; add RecipeFacts(name={name!r}, ...) to FACTS in {file}.")


def by_name(package: str, *facts: RecipeFacts) -> FactsByName:
    """Return the facts of a package, whose name it is told so that errors can say where one is missing."""
    return FactsByName(package, facts)
