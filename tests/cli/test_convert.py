"""`sdsr convert`: a file in the published layout becomes a folder whose every tensor is the file's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from sdsr.adapters.control import latent_control
from sdsr.adapters.hybrid_attention import HybridAttention
from sdsr.adapters.image_prompt import ImagePrompt
from sdsr.checkpoints.conversion import Published, check_complete, description
from sdsr.checkpoints.converted import Converted
from sdsr.cli.main import app
from sdsr.digests import combined_sha256, file_sha256
from sdsr.errors import InputError, ModelError, OutputError
from sdsr.method_folders import read_description
from sdsr.methods import METHODS, converters
from sdsr.methods.consissr.recipes import CONSISSR_PUBLISHED
from sdsr.methods.published import PUBLISHED
from sdsr.prior.loading import load_prior
from sdsr.prior.shapes import UNET
from sdsr.prior.sources import SOURCES
from tests.folders import prior_folder

PARTS = {"controlnet", "control_hybrid", "hybrid", "image_prompt", "image_encoder"}
State = dict[str, Tensor]
RUN = CliRunner()
DOCS = (Path(__file__).parents[2] / "docs" / "weights.md").read_text("utf-8").partition("## Converting")[2]


@pytest.fixture
def checkpoint(consissr_tiny: State, tmp_path: Path) -> Path:
    path = tmp_path / "ConsisSR.ckpt"
    torch.save({"state_dict": consissr_tiny, "global_step": 200_000}, path)
    return path


@pytest.fixture(autouse=True)
def unshaped(monkeypatch: pytest.MonkeyPatch) -> Published:
    """The tensors here are tiny, so that only their names are looked at; return what looks at their shapes, too."""
    published = PUBLISHED["consissr"]
    named = replace(published, convert=lambda state: replace(published.convert(state), shapes={}))
    monkeypatch.setitem(PUBLISHED, "consissr", named)
    return published


def test_tiny_tensors_under_the_published_names_are_refused(
    checkpoint: Path, tmp_path: Path, unshaped: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PUBLISHED, "consissr", unshaped)
    for more in ([], ["--partial"]):
        with pytest.raises(ModelError, match=r"does not fit: \w+'s \S+ is \(6, .* instead of \(.* and \d+ more; name"):
            run(checkpoint, "--to", tmp_path / "out", *more)
    assert not (tmp_path / "out").exists()


def run(*arguments: Any) -> dict[str, Any]:
    done = RUN.invoke(app, ["convert", "consissr", *map(str, arguments), "--json"])
    if done.exception:
        raise done.exception
    return json.loads(done.output)


def test_every_published_checkpoint_fits_a_recipe() -> None:
    for published in PUBLISHED.values():
        assert METHODS[published.recipe].plan is not None


def test_help_names_every_published_checkpoint() -> None:
    assert converters() == tuple(PUBLISHED)
    shown = RUN.invoke(app, ["convert", "--help"], env={"COLUMNS": "300"}).output
    assert all(f" {name}" in shown for name in PUBLISHED)


def test_every_published_checkpoint_is_in_the_documentation() -> None:
    rows = [line for line in DOCS.splitlines() if line.startswith("| ")]
    for method, published in PUBLISHED.items():
        (row,) = [row for row in rows if f"`{method}`" in row.split("|")[1]]
        *_, prior, needed = (cell.strip() for cell in row.strip("|").split("|"))
        if published.completes:
            assert (prior, needed) == ("its", "no")
        else:
            assert (prior, needed == "yes") == (f"`{published.prior}`", SOURCES[published.prior].sha256 is None)


def test_a_folder_is_drawn_with_the_files_that_errors_name() -> None:
    drawn = DOCS.partition("FOLDER/\n")[2].partition("```")[0]
    files = PUBLISHED["addsr"].convert({}).files
    assert [name for name in files if name in drawn] == [*files]
    assert drawn.count("diffusion_pytorch_model") == 2


def test_the_folder_is_one_that_restores(checkpoint: Path, consissr_tiny: State, tmp_path: Path) -> None:
    report = run(checkpoint, "--to", tmp_path / "out")
    assert (report["tensors"], report["unknown"], report["missing"]) == (2342, [], [])
    assert (report["used"], len(report["dropped"])) == (2315, 13 + 14)
    assert report["beside"] == ["global_step"]
    assert {name for name, part in report["parts"].items() if part["kept"]} == PARTS
    noted, recipe = read_description(tmp_path / "out"), METHODS["consissr-published"]
    assert recipe.plan is not None
    known = [digest for digest in SOURCES["sd-2.1-base"].weights.values() if digest]
    expected = {
        "recipe": recipe.name,
        "prior": recipe.prior,
        "prior_sha256": combined_sha256(known),
        "times": list(recipe.plan.times),
        "source_sha256": file_sha256(checkpoint),
    }
    assert noted == noted | expected
    assert noted["files"] == {
        f"{part}.safetensors": file_sha256(tmp_path / f"out/{part}.safetensors") for part in PARTS
    }
    name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v_ip.weight"
    theirs = consissr_tiny["control_model.middle_block.1.transformer_blocks.0.attn2.to_v_ip.weight"]
    assert torch.equal(load_file(tmp_path / "out" / "control_hybrid.safetensors")[name], theirs.half())


def test_the_prior_is_the_given_one(tmp_path: Path) -> None:
    mine = prior_folder(tmp_path / "mine")
    files = [mine / part / "model.safetensors" for part in ("vae", "unet", "text_encoder")]
    noted = description(PUBLISHED["consissr"], files[0], str(mine))
    assert (noted["prior"], noted["prior_sha256"]) == ("mine", combined_sha256(map(file_sha256, files)))


@pytest.mark.parametrize("stray", [False, True])
@pytest.mark.parametrize("writes", [False, True])
def test_a_folder_that_is_no_prior_is_refused(checkpoint: Path, tmp_path: Path, stray: bool, writes: bool) -> None:
    (tmp_path / "fake" / "unet").mkdir(parents=True)
    if stray:
        save_file({"a": torch.ones(1)}, tmp_path / "fake" / "unet" / "model.safetensors")
    with pytest.raises(ModelError, match=r"prior \(=.*fake\) has no vae/config.json; give a folder in diffusers'"):
        run(checkpoint, "--prior", tmp_path / "fake", *(["--to", tmp_path / "new" / "out"] if writes else []))
    assert not (tmp_path / "new").exists()


def test_a_prior_without_weights_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    mine = prior_folder(tmp_path / "mine")
    (mine / "text_encoder" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"prior \(=.*mine\) has no weights \(\*.safetensors\) in text_encoder; down"):
        run(checkpoint, "--prior", mine, "--to", tmp_path / "out")
    with pytest.raises(ModelError, match=r"has no weights \(\*.safetensors\) in text_encoder"):
        load_prior(mine, device="cpu")


def test_a_prior_of_unknown_sha256_must_be_given(tmp_path: Path) -> None:
    unknown = replace(PUBLISHED["consissr"], prior="sd-turbo")
    with pytest.raises(ModelError, match=r"prior \(=sd-turbo\) has files .* name its folder with --prior"):
        description(unknown, tmp_path, None)


@pytest.fixture(scope="module")
def full_size(consissr_shapes: dict[str, torch.Size]) -> dict[str, State]:
    """The parts of the checkpoint at full size, without memory."""
    state = {name: torch.empty(shape, device="meta") for name, shape in consissr_shapes.items()}
    return dict(PUBLISHED["consissr"].convert(state).parts)


def test_parts_have_as_many_parameters_as_published(full_size: dict[str, State]) -> None:
    assert {name: sum(tensor.numel() for tensor in part.values()) for name, part in full_size.items()} == {
        "unet": 865_910_724,
        "hybrid": 77_286_016,
        "controlnet": 364_228_384,
        "control_hybrid": 36_447_424,
        "image_prompt": 3_150_848,
        "image_encoder": 632_076_800,
        "autoencoder": 83_653_863,
        "condition_autoencoder": 34_163_664,
        "text": 340_387_840,
    }


def test_parts_fit_the_networks_of_the_recipe(full_size: dict[str, State]) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
        controlnet = latent_control(unet, widths=CONSISSR_PUBLISHED.method.hint_widths)
        networks = {
            "unet": unet,
            "controlnet": controlnet,
            "hybrid": HybridAttention(unet, CONSISSR_PUBLISHED.method.hybrid),
            "control_hybrid": HybridAttention(controlnet, CONSISSR_PUBLISHED.method.hybrid),
            "image_prompt": ImagePrompt(1024, 1024),
        }
    for name, network in networks.items():
        expected = {key: tensor.shape for key, tensor in network.state_dict().items()}
        assert {key: tensor.shape for key, tensor in full_size[name].items()} == expected, name


def test_a_file_that_does_not_fit_is_refused_unless_partial(consissr_tiny: State, tmp_path: Path) -> None:
    consissr_tiny["control_model.surprise"] = consissr_tiny.pop("control_model.time_embed.0.weight")
    torch.save(consissr_tiny, tmp_path / "odd.ckpt")
    with pytest.raises(ModelError, match=r"holds unknown tensors: control_model.surprise; .*--partial"):
        run(tmp_path / "odd.ckpt", "--to", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert run(tmp_path / "odd.ckpt", "--partial")["missing"] == ["control_model.time_embed.0.weight"]


def test_missing_tensors_are_counted(tmp_path: Path) -> None:
    converted = Converted(parts={}, missing=tuple("abcdefgh"))
    with pytest.raises(ModelError, match="lacks tensors: a, b, c, d, e and 3 more;"):
        check_complete(converted, tmp_path)


def test_unknown_and_missing_tensors_are_told_together(tmp_path: Path) -> None:
    converted = Converted(parts={}, unknown=("x",), missing=("a",))
    with pytest.raises(ModelError, match="holds unknown tensors: x; it lacks tensors: a; name its own"):
        check_complete(converted, tmp_path)


def test_without_a_folder_nothing_is_written_and_all_is_told(checkpoint: Path, tmp_path: Path) -> None:
    done = RUN.invoke(app, ["convert", "consissr", str(checkpoint)], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "2342 tensors: 2315 used, 27 dropped, 0 unknown, 0 missing" in done.output
    assert "the image branch is alive" in done.output
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_what_can_not_be_done_is_said_before_the_file_is_read(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    with pytest.raises(OutputError, match="not empty"):
        run(checkpoint, "--to", tmp_path / "full")
    done = RUN.invoke(app, ["convert", "nothing", str(checkpoint)])
    assert isinstance(done.exception, InputError)


def test_the_file_is_read_before_a_prior_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdsr.prior.sources.resolve", lambda name: pytest.fail("looks for the prior"))
    shown = CliRunner().invoke(app, ["convert", "consissr", str(tmp_path / "gone.ckpt"), "--prior", "sd-2.1-base"])
    assert isinstance(shown.exception, ModelError | InputError)
    assert "gone.ckpt" in str(shown.exception)
