"""Which photos are found, and that each has a target of its own."""

import os
from pathlib import Path

import pytest

from sdsr.batch.walking import Naming, Task, plan, tag
from sdsr.errors import InputError
from sdsr.upscaling import Request

X4 = Request()


def targets(tasks: list[Task], root: Path) -> list[str]:
    return [task.target.relative_to(root).as_posix() for task in tasks]


def test_a_tree_is_mirrored_beside_it(tree: Path) -> None:
    tasks = plan([tree], Naming(request=X4))
    assert targets(tasks, tree.parent / "photos_x4") == ["a.jpg", "a.png", "broken.jpg", "sub/b.png"]
    assert {task.root for task in tasks} == {tree.parent / "photos_x4"}


def test_results_inside_the_folder_are_not_photos_of_the_next_run(tree: Path) -> None:
    out = tree / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"")
    assert len(plan([tree], Naming(request=X4), output=out)) == 4
    with pytest.raises(InputError, match="another folder"):
        plan([tree], Naming(request=X4), output=tree)


def test_names_never_collide_when_the_format_changes(tree: Path) -> None:
    names = targets(plan([tree], Naming(request=X4, format="PNG"), output=tree.parent / "o"), tree.parent / "o")
    assert names == ["a.jpg.png", "a.png", "broken.png", "sub/b.png"]


def test_files_of_one_name_from_two_folders_do_not_collide(tree: Path) -> None:
    (tree / "sub" / "a.png").write_bytes((tree / "a.png").read_bytes())
    names = targets(plan([tree / "a.png", tree / "sub" / "a.png"], Naming(request=X4), output=tree.parent), tree.parent)
    assert names == ["a_x4.png", "a_x4_2.png"]


def test_a_file_goes_beside_itself_in_its_true_format(tree: Path) -> None:
    (tree / "wrong.jpg").write_bytes((tree / "a.png").read_bytes())
    (task,) = plan([tree / "wrong.jpg"], Naming(request=X4))
    assert (task.target, task.root) == (tree / "wrong_x4.png", None)
    (task,) = plan([tree / "a.jpg"], Naming(request=Request(scale=2.5)), output=tree / "named.webp")
    assert task.target == tree / "named.webp"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Request(scale=2.0), "x2"),
        (Request(width=640), "w640"),
        (Request(height=480), "h480"),
        (Request(width=640, height=480), "640x480"),
        (Request(megapixels=12), "12mp"),
    ],
)
def test_the_tag_says_the_size(request_: Request, expected: str) -> None:
    assert tag(request_) == expected


def test_two_photos_and_one_file_do_not_fit(tree: Path) -> None:
    with pytest.raises(InputError, match="name a folder"):
        plan([tree / "a.jpg", tree / "a.png"], Naming(request=X4), output=tree / "o.png")
    (tree / "empty").mkdir()
    with pytest.raises(InputError, match="holds no photo"):
        plan([tree / "empty"], Naming(request=X4))


@pytest.mark.parametrize(
    "name", ["out.gif", "out.GIF", "out.mp4", "out.pdf", "out.heic", "out.jpgg", "out.ngp", "o.tif_"]
)
def test_a_name_that_looks_like_a_file_makes_no_folder(tree: Path, name: str) -> None:
    for source in (tree / "a.jpg", tree):
        with pytest.raises(InputError, match=r"output \(=\S+\) .*; end its name on one of \.jpg"):
            plan([source], Naming(request=X4), output=tree.parent / name)
    (tree.parent / name).mkdir()
    (task,) = plan([tree / "a.jpg"], Naming(request=X4), output=tree.parent / name)
    assert task.target == tree.parent / name / "a_x4.jpg"


@pytest.mark.parametrize("name", ["results", "results.v2", "2024.06", "x4.0", "out.d"])
def test_a_folder_may_have_a_dot(tree: Path, name: str) -> None:
    (task,) = plan([tree / "a.jpg"], Naming(request=X4), output=tree.parent / name)
    assert task.target == tree.parent / name / "a_x4.jpg"


def test_an_output_that_is_there_but_no_folder_is_refused(tree: Path) -> None:
    for output in (tree / "Thumbs.db", Path(os.devnull)):
        with pytest.raises(InputError, match="is there and is no folder; end its name on"):
            plan([tree / "a.jpg"], Naming(request=X4), output=output)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
def test_a_pipe_among_photos_is_refused_and_not_read(tree: Path) -> None:
    os.mkfifo(tree / "pipe.jpg")
    with pytest.raises(InputError, match=r"pipe\.jpg is a pipe, which stands for one photo"):
        plan([tree / "a.jpg", tree / "pipe.jpg"], Naming(request=X4), output=tree.parent / "o")
    assert tree / "pipe.jpg" in [task.source for task in plan([tree], Naming(request=X4))], "its reader says what it is"
