"""Names of results by a template."""

from pathlib import Path

import pytest

from sdsr.batch.templates import Template
from sdsr.batch.walking import Naming, plan
from sdsr.errors import InputError
from sdsr.request import Request


def test_a_template_names_results_of_files_and_folders(tree: Path) -> None:
    template = Template.parse("{model}/{folder}-{stem}_{size}-{seed}")
    tasks = plan([tree], Naming(request=Request(seed=7), template=template, model="m"), output=tree.parent / "o")
    names = [task.target.relative_to(tree.parent / "o").as_posix() for task in tasks]
    assert names == [
        "m/photos-a_x4-7.jpg",
        "m/photos-a_x4-7.png",
        "m/photos-broken_x4-7.jpg",
        "sub/m/sub-b_x4-7.png",
    ]
    assert [task.name for task in tasks] == ["a.jpg", "a.png", "broken.jpg", "sub/b.png"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{stm}", "try {stem}"),
        ("x", "must have {stem}"),
        ("{stem", "unbalanced"),
        ("{stem:>3}", "formats a field"),
        ("../{stem}", "must be below"),
        ("/{stem}", "must be below"),
        (".{stem}", "not hidden"),
        ("a//{stem}", "must be below"),
        ("{}{stem}", "unknown field"),
    ],
)
def test_what_names_nothing_or_leads_away_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Template.parse(text)
