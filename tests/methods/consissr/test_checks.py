"""The questions put to ConsisSR's checkpoint: each answers yes, no and "can't be told" where it should."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sdsr.checkpoints.converted import Converted, Finding
from sdsr.methods.consissr import checks
from sdsr.methods.consissr.convert import convert

State = dict[str, Tensor]


def copied(state: State) -> None:
    for name in list(state):
        if "_ip.weight" in name:
            state[name] = state[name.replace("_ip.", ".")].clone()


def silenced(state: State) -> None:
    for name in state:
        if name.endswith("to_out_ip.0.weight"):
            state[name] = torch.zeros_like(state[name])


def untrained(state: State) -> None:
    for name in state:
        added = any(word in name for word in ("position_emb", "attnT.to_out", "to_out_ip"))
        if added and name.startswith(("model.diffusion_model.input_blocks", "model.diffusion_model.middle_block")):
            state[name] = torch.zeros_like(state[name])


def encoder_changed(state: State) -> None:
    state["cond_encoder.encoder.conv_in.bias"] += 0.25


def more_tokens(state: State) -> None:
    for kind in ("weight", "bias"):
        name = f"cond_stage_model.ft_layers_4.1.{kind}"
        state[name] = torch.cat([state[name]] * 4)


def unchanged(state: State) -> None: ...


@pytest.mark.parametrize(
    ("check", "change", "holds", "figure"),
    [
        (checks.image_projections_are_copies, copied, True, "46 of 46 equal, largest difference 0"),
        (checks.image_projections_are_copies, unchanged, False, "0 of 46 equal, largest difference 0.9"),
        (checks.image_branch_is_alive, unchanged, True, "max|to_out_ip| 1.5, max|ft_layers_4.6| 1.4"),
        (checks.image_branch_is_alive, silenced, False, "max|to_out_ip| 0, max|ft_layers_4.6| 1.4"),
        (checks.unet_encoder_is_untrained, untrained, True, "max 0"),
        (checks.unet_encoder_is_untrained, unchanged, False, "max 1.5"),
        (checks.condition_encoder_is_a_copy, unchanged, True, "108 of 108 equal, largest difference 0"),
        (checks.condition_encoder_is_a_copy, encoder_changed, False, "107 of 108 equal, largest difference 0.25"),
        (checks.image_prompt_is_known, unchanged, True, "ft_layers_4: 1 tokens"),
        (checks.image_prompt_is_known, more_tokens, False, "ft_layers_4: 4 tokens"),
    ],
)
def test_the_file_alone_answers(
    check: Callable[[Mapping[str, Tensor]], Finding],
    change: Callable[[State], None],
    holds: bool,
    figure: str,
    consissr_tiny: State,
) -> None:
    change(consissr_tiny)
    finding = check(consissr_tiny)
    assert finding.holds is holds
    assert finding.figure.startswith(figure)
    assert finding.meaning


def test_nothing_is_told_of_what_is_not_there() -> None:
    findings = checks.examine({}, Converted(parts={}))
    assert len(findings) == 9
    assert {finding.holds for finding in findings} == {None}
    assert all("absent" in finding.figure for finding in findings)


def test_another_variant_of_the_image_prompt_is_noticed(consissr_tiny: State) -> None:
    renamed = {name.replace("ft_layers_4", "ft_layers_257"): tensor for name, tensor in consissr_tiny.items()}
    finding = checks.image_prompt_is_known(renamed)
    assert finding.holds is False
    assert finding.figure.startswith("ft_layers_257")


@pytest.fixture(scope="session")
def prior(consissr_sealed: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior with the checkpoint's very weights: the UNet in two files, the text encoder with its longer names."""
    folder, parts = tmp_path_factory.mktemp("prior"), convert(consissr_sealed).parts
    decoder = {name for name in parts["unet"] if name.startswith("up_blocks")}
    store(folder / "unet" / "model-1.safetensors", {name: parts["unet"][name] for name in decoder})
    rest = parts["unet"].keys() - decoder
    store(folder / "unet" / "model-2.safetensors", {name: parts["unet"][name] for name in rest})
    text = {f"text_model.{name}": tensor for name, tensor in parts["text"].items()}
    store(folder / "text_encoder" / "model.safetensors", text)
    store(folder / "image_encoder" / "model.safetensors", parts["image_encoder"])
    return folder


def store(path: Path, tensors: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(exist_ok=True)
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path)


def answers(state: State, prior: Path) -> list[bool | None]:
    """Whether the image encoder was tuned; whether text encoder, UNet and ControlNet's attention are the prior's."""
    findings = checks.examine(state, convert(state), prior=prior, image_encoder=prior / "image_encoder")
    return [finding.holds for finding in findings[4:8]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_same_weights_as_a_prior_are_recognised(dtype: torch.dtype, consissr_tiny: State, prior: Path) -> None:
    """Also where the checkpoint is in half precision and the prior isn't."""
    state = {name: tensor.to(dtype) for name, tensor in consissr_tiny.items()}
    assert answers(state, prior) == [False, True, True, True]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cond_stage_model.model.visual.proj", [True, True, True, True]),
        ("cond_stage_model.model.ln_final.bias", [False, False, True, True]),
        ("model.diffusion_model.out.2.bias", [False, True, False, True]),
        ("control_model.middle_block.1.transformer_blocks.0.norm2.weight", [False, True, True, False]),
    ],
)
def test_one_changed_tensor_is_noticed(name: str, expected: list[bool], consissr_tiny: State, prior: Path) -> None:
    consissr_tiny[name] += 1
    assert answers(consissr_tiny, prior) == expected


def test_a_tensor_that_the_prior_lacks_is_a_difference(prior: Path, tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "model.safetensors").symlink_to(prior / "unet" / "model-2.safetensors")
    finding = checks.unet_is_the_priors(Converted(parts={"unet": {"up_blocks.x": torch.ones(2)}}), tmp_path)
    assert finding.holds is False
    assert finding.figure == "0 of 1 equal, largest difference inf"
