"""A command restores with torch, and imports of the libraries what it uses."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import sdsr
from sdsr.lean_imports import HollowPackage, hollow, import_diffusers, replaced

SAMPLE = Path(sdsr.__file__).parent / "assets" / "sample.jpg"
UNUSED = (
    "diffusers.models.transformers.transformer_flux",
    "diffusers.models.unets.unet_3d_condition",
    "diffusers.pipelines",
    "peft",
    "scipy",
    "sympy",
    "torch._dynamo",
    "torch._inductor",
    "torch.distributed.fsdp",
    "transformers",
)


def test_methods_import_what_they_use(tmp_path: Path) -> None:
    """One with its own network beside the UNet, one that is LoRA in its paper; afterwards the rest can be imported."""
    code = f"""
import sys
from importlib.util import find_spec
from sdsr.cli.main import main

for model in ("invsr-small", "d3sr-small"):
    options = ["--engine", "torch", "--model", model, "--scale", "0.25", "--quiet", "--overwrite"]
    sys.argv = ["sdsr", "upscale", {str(SAMPLE)!r}, "--output", {str(tmp_path / "out.png")!r}, *options]
    try:
        main()
    except SystemExit as left:
        assert not left.code, left.code
print(*(name for name in {UNUSED} if name in sys.modules), sep=",")
print(*(name for name in ("peft", "scipy", "transformers", "torch._dynamo") if find_spec(name) is None), sep=",")
from diffusers.models.transformers import SD3Transformer2DModel
print(SD3Transformer2DModel.__module__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported, lost, found = done.stdout.splitlines()
    assert imported == ""
    assert lost == ""
    assert found == "diffusers.models.transformers.transformer_sd3"
    assert (tmp_path / "out.png").is_file()


def test_python_of_others_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdsr.lean_imports._OWN", [])  # a test may have run the command line in this process
    for name in [name for name in sys.modules if name.partition(".")[0] == "diffusers"]:
        monkeypatch.delitem(sys.modules, name)
    import_diffusers()
    assert "diffusers" not in sys.modules


def test_a_hollow_package_is_run_for_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "outer_room" / "inner_room"
    package.mkdir(parents=True)
    (tmp_path / "outer_room" / "__init__.py").touch()
    (package / "__init__.py").write_text("from outer_room.inner_room.chair import seats\nlamp = 1\n")
    (package / "chair.py").write_text("seats = 4\n")
    monkeypatch.syspath_prepend(tmp_path)
    hollow("outer_room.inner_room")
    hollow("outer_room.no_room")
    chair = import_module("outer_room.inner_room.chair")
    room = sys.modules["outer_room.inner_room"]
    assert isinstance(room, HollowPackage)
    assert chair.seats == 4
    with pytest.raises(AttributeError, match="__all__"):
        _ = room.__all__
    assert "lamp" not in vars(room)
    assert room.lamp == 1
    assert not isinstance(room, HollowPackage)
    with pytest.raises(AttributeError, match="table"):
        _ = room.table


def test_a_stand_in_is_imported_and_goes() -> None:
    with replaced({"stand_in_of_ours": sdsr}):
        import stand_in_of_ours  # pyright: ignore[reportMissingImports]

        assert stand_in_of_ours is sdsr
    assert "stand_in_of_ours" not in sys.modules
