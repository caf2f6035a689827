import pytest
from PIL import Image as PillowImage

from sdsr.errors import InputError, OutputError
from sdsr.metrics.save import check_target, save_image, save_text


def test_text_and_image_leave_only_themselves(tmp_path):
    save_text("Ä", tmp_path / "a.md")
    save_image(PillowImage.new("RGB", (8, 4)), tmp_path / "b.webp")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md", "b.webp"]
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == "Ä"
    with PillowImage.open(tmp_path / "b.webp") as image:
        assert image.size == (8, 4)


def test_targets_are_refused_before_the_work(tmp_path):
    taken = tmp_path / "a.png"
    taken.touch()
    with pytest.raises(OutputError, match="--overwrite"):
        check_target(taken)
    check_target(taken, overwrite=True, image=True)
    with pytest.raises(OutputError, match="create it"):
        check_target(tmp_path / "none" / "a.png")
    with pytest.raises(InputError, match=r"\.png"):
        check_target(tmp_path / "a.bmp", image=True)


def test_a_failure_is_typed_and_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match="PNG"):
        save_image(PillowImage.new("RGB", (70000, 1)), tmp_path / "a.jpg")
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(OutputError, match="can't be written"):
        save_text("", tmp_path / "folder.md")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.md"]
