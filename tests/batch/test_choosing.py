"""Which photos globs fit, and that a choice that leaves nothing is told."""

from pathlib import Path

import pytest

from sdsr.batch.choosing import Choice, fits
from sdsr.batch.walking import Task
from sdsr.errors import InputError


@pytest.mark.parametrize(
    ("name", "glob", "expected"),
    [
        ("a.jpg", "*.jpg", True),
        ("deep/in/A.JPG", "*.jpg", True),
        ("deep/in/a.jpg", "deep/*.jpg", False),
        ("deep/in/a.jpg", "deep/*/*.jpg", True),
        ("deep/in/a.jpg", "deep/**", True),
        ("deep/in/a.jpg", "**/in/*.jpg", True),
        ("in/a.jpg", "**/in/*.jpg", True),
        ("deep/in/b.png", "**/in/*.jpg", False),
        ("a.jpg", "**", True),
        ("a/b/c/d.png", "a/**/c/**/d.png", True),
        ("a/d.png", "a/**/c/**/d.png", False),
        ("[x].png", "[[]x].png", True),
        ("u\u0308.png", "\u00fc.png", True),
        ("deeper/a.jpg", "deep/**", False),
    ],
)
def test_globs(name: str, glob: str, expected: bool) -> None:
    assert fits(name, glob) is expected


def test_excluded_ones_go_and_nothing_left_is_told() -> None:
    tasks = [Task.of(Path(name), Path("out"), name=name) for name in ("a.jpg", "x/b.jpg", "x/c.png")]
    chosen = Choice(include=("*.jpg", "c.*"), exclude=("x/b.*",)).of(tasks)
    assert [task.name for task in chosen] == ["a.jpg", "x/c.png"]
    with pytest.raises(InputError, match="none of 3 photos is left by --include y"):
        Choice(include=("y",)).of(tasks)
    with pytest.raises(InputError, match="must name something"):
        Choice(exclude=("/",))
