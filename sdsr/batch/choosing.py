"""Which of the photos that were found are wanted, by globs on their paths below the folder that was named."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sdsr.batch.naming import text_key
from sdsr.batch.walking import Task
from sdsr.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Photos that one of `include` fits (or all, without one) and none of `exclude`; see `fits`."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for glob in (*self.include, *self.exclude):
            if not glob.strip("/"):
                raise InputError(f"glob (={glob!r}) must name something; try '*.jpg' or 'holiday/**'.")

    def of(self, tasks: Sequence[Task]) -> list[Task]:
        """Return the tasks whose photos are wanted; raise InputError where there is none."""
        chosen = [task for task in tasks if self._wants(task.name)]
        if not chosen:
            told = [f"--include {glob}" for glob in self.include] + [f"--exclude {glob}" for glob in self.exclude]
            raise InputError(f"none of {len(tasks)} photos is left by {' '.join(told)}; widen them.")
        return chosen

    def _wants(self, name: str) -> bool:
        included = not self.include or any(fits(name, glob) for glob in self.include)
        return included and not any(fits(name, glob) for glob in self.exclude)


def fits(name: str, glob: str) -> bool:
    """Whether a path with slashes fits a glob: without a slash by its last part, else as a whole.

    `*` and `?` stop at slashes, `**` stands for any number of folders. Case and composition of letters don't count.

    >>> fits("a/b/C.JPG", "*.jpg"), fits("a/b/c.jpg", "a/*.jpg"), fits("a/b/c.jpg", "a/**"), fits("c.jpg", "**/c.jpg")
    (True, False, True, True)
    """
    parts = text_key(name).split("/")
    globs = text_key(glob).strip("/").split("/")
    return fnmatchcase(parts[-1], globs[0]) if len(globs) == 1 and globs[0] != "**" else _match(parts, globs)


def _match(parts: list[str], globs: list[str]) -> bool:
    """Whether the parts fit, by those lengths of a beginning that each glob in turn can reach."""
    reached = {0}
    for glob in globs:
        if glob == "**":
            reached = set(range(min(reached), len(parts) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(parts) and fnmatchcase(parts[at], glob)}
        if not reached:
            return False
    return len(parts) in reached
