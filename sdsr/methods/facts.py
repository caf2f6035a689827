"""What is told of recipes, known without torch; each folder's `FACTS` says it of its own."""

from dataclasses import dataclass


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


def by_name(*facts: RecipeFacts) -> dict[str, RecipeFacts]:
    return {each.name: each for each in facts}
