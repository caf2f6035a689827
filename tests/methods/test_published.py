"""What a checkpoint must be beside complete: of the right shapes, finite, as strong as it says, whatever wraps it."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from typer.testing import CliRunner

from sdsr.checkpoints.conversion import check_complete, check_fit, converted_from
from sdsr.checkpoints.converted import Converted
from sdsr.checkpoints.reading import read_checkpoint
from sdsr.cli.main import app
from sdsr.errors import ModelError
from sdsr.methods.one_step.convert import low_rank, unet_shapes
from sdsr.methods.one_step.generator import D3SR, OSEDIFF, OneStep
from sdsr.methods.published import PUBLISHED

FILE = Path("weights.pth")
KEYS = Path(__file__).parents[1] / "golden" / "keys"
SHAPES = unet_shapes(OneStep())
PROMPT = {"prompt": torch.zeros(1).expand(77, 1024)}


def predictor(value: float | None = None) -> dict[str, Tensor]:
    """InvSR's published predictor, without memory."""
    lines = (line.split("\t") for line in (KEYS / "keys_invsr_noise_predictor.txt").read_text().splitlines())
    sides = {name: [int(side) for side in shape.split("x")] for name, shape in lines}
    if value is None:
        return {name: torch.empty(shape, device="meta") for name, shape in sides.items()}
    return {name: torch.full((1,), value).expand(shape) for name, shape in sides.items()}


def updates(pattern: str = "{layer}.lora_{side}.weight", generator: OneStep = D3SR) -> dict[str, Tensor]:
    """All updates of a UNet, without memory."""
    state = {}
    for name, shape in unet_shapes(generator).items():
        layer, side, _ = name.rsplit(".", 2)
        side = side.removeprefix("lora_")
        words = {"layer": layer, "side": side, "way": {"A": "down", "B": "up"}[side], "flat": layer.replace(".", "_")}
        state[pattern.format(**words)] = torch.full((1,), 0.5).expand(shape)
    return state


def fits(converted: Converted) -> bool:
    return not (converted.unknown or converted.missing)


def test_the_methods_whose_checkpoint_it_is_are_told(tmp_path: Path) -> None:
    torch.save({"params": predictor(0.0)}, tmp_path / "stablesr.ckpt")
    done = CliRunner().invoke(app, ["convert", "stablesr-cfw", str(tmp_path / "stablesr.ckpt")])
    assert str(done.exception).endswith(". It fits: invsr.")
    state = {"odd": torch.zeros(3)}
    torch.save(state, tmp_path / "odd.ckpt")
    done = CliRunner().invoke(app, ["convert", "invsr", str(tmp_path / "odd.ckpt")])
    assert str(done.exception).endswith("--partial.")


WRAPPERS = [
    "params",
    "params_ema",
    "model",
    "generator",
    "generator_ema",
    "ema",
    "net_g",
    "netG",
    "module",
    "_orig_mod",
]


@pytest.mark.parametrize(
    "wrapper", ["", *WRAPPERS, "module._orig_mod", "module.model", "model.generator_ema", "state_dict.module.net"]
)
def test_prefixes_before_every_name_are_understood(wrapper: str) -> None:
    state = {f"{wrapper}.{name}" if wrapper else name: tensor for name, tensor in predictor().items()}
    converted, inside = converted_from(PUBLISHED["invsr"], state, FILE)
    assert fits(converted)
    assert converted.dropped == ()
    assert len(inside) == len(converted.parts["noise_predictor"]) == 164


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_entries_that_wrap_the_tensors_are_understood(wrapper: str, tmp_path: Path) -> None:
    tensors = {"a.weight": torch.ones(2), "a.bias": torch.zeros(1)}
    if wrapper in ("module", "_orig_mod"):
        content = {wrapper: {"a": {"b": 1}}, **tensors}
        expected = set(tensors)
    else:
        content, expected = {wrapper: {"module." + name: one for name, one in tensors.items()}, "iter": 3}, set(tensors)
    torch.save(content, tmp_path / "x.pth")
    found = read_checkpoint(tmp_path / "x.pth")
    assert set(found.tensors) == expected


def test_an_average_is_taken_before_what_it_averages(tmp_path: Path, caplog) -> None:
    content = {"params": {"a": torch.zeros(1)}, "params_ema": {"a": torch.ones(1)}, "epoch": 4}
    torch.save({"state_dict": content}, tmp_path / "x.pth")
    found = read_checkpoint(tmp_path / "x.pth")
    assert float(found.tensors["a"]) == 1
    assert set(found.others) == {"params", "epoch"}
    assert "holds params_ema, params; params_ema is taken" in caplog.text
    state = {f"generator.{name}": tensor for name, tensor in predictor(0.0).items()}
    state |= {f"generator_ema.{name}": tensor for name, tensor in predictor(1.0).items()}
    state["discriminator.conv.weight"] = torch.zeros(3)
    converted, _ = converted_from(PUBLISHED["invsr"], state, FILE)
    assert fits(converted)
    assert len(converted.dropped) == len(predictor()) + 1
    assert float(converted.parts["noise_predictor"]["conv_out.bias"][0]) == 1


@pytest.mark.parametrize("method", ["invsr", "d3sr", "osediff"])
@pytest.mark.parametrize("change", ["wider", "rank", "flat", "scalar"])
def test_another_shape_or_rank_is_refused(method: str, change: str) -> None:
    state = {
        "invsr": predictor,
        "d3sr": lambda: updates() | PROMPT,
        "osediff": lambda: updates("state_dict_unet.{layer}.lora_{side}.default_encoder.weight", OSEDIFF),
    }[method]()
    check_fit(PUBLISHED[method].convert(state), FILE)
    name = list(state)[7]
    state[name] = {
        "wider": lambda one: one.new_zeros((one.shape[0] + 1, *one.shape[1:])),
        "rank": lambda one: one.new_zeros((*one.shape, 2)),
        "flat": lambda one: one.new_zeros(one.numel() if one.ndim > 1 else (one.numel(), 1)),
        "scalar": lambda one: one.new_zeros(()),
    }[change](state[name])
    with pytest.raises(ModelError, match=r"does not fit: \w+'s \S+ is \(.*\) instead of \("):
        converted_from(PUBLISHED[method], state, FILE)


def test_the_rank_of_updates_is_that_of_the_recipe() -> None:
    with pytest.raises(ModelError, match=r"lora's \S+lora_A.weight is \(4, .* instead of \(16, .* and 515 more"):
        converted_from(PUBLISHED["d3sr"], updates(generator=OneStep(rank=4, alpha=4)) | PROMPT, FILE)


BROKEN = {
    "nan": torch.tensor(math.nan),
    "inf": torch.tensor(math.inf),
    "-inf": torch.tensor(-math.inf, dtype=torch.bfloat16),
    "int8": torch.tensor(1, dtype=torch.int8),
    "bool": torch.tensor(True),
    "complex": torch.tensor(1j),
    "float8": torch.tensor(1.0).to(torch.float8_e4m3fn),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_not_finite_or_no_float_is_refused(kind: str) -> None:
    state = updates() | PROMPT
    name = list(state)[100]
    state[name] = BROKEN[kind].expand(state[name].shape)
    reason = "NaN or infinite values" if "n" in kind and "int" not in kind else "holds torch"
    with pytest.raises(ModelError, match=reason):
        converted_from(PUBLISHED["d3sr"], state, FILE)


@pytest.mark.parametrize(
    ("pattern", "alpha"),
    [
        ("lora_unet_{flat}.lora_{way}.weight", "lora_unet_{flat}.alpha"),
        ("unet.{layer}.lora_{side}.weight", "unet.{layer}.alpha"),
        ("{layer}.lora.{way}.weight", "{layer}.lora.alpha"),
        ("base_model.model.{layer}.lora_{side}.default.weight", "base_model.model.{layer}.alpha"),
    ],
)
def test_the_strength_is_the_files_own(pattern: str, alpha: str) -> None:
    """Half of the rank is half of the update, also where unknown and missing tensors are accepted."""
    state = updates(pattern)
    for name in SHAPES:
        layer = name.rsplit(".", 2)[0]
        state[alpha.format(layer=layer, flat=layer.replace(".", "_"))] = torch.tensor(8.0)
    converted, _ = converted_from(PUBLISHED["d3sr"], state | PROMPT, FILE)
    assert fits(converted)
    lora = converted.parts["lora"]
    assert all(float(one.flatten()[0]) == (0.25 if ".lora_B." in name else 0.5) for name, one in lora.items())
    with pytest.raises(ModelError, match="lacks tensors: prompt"):
        check_complete(converted_from(PUBLISHED["d3sr"], state, FILE)[0], FILE)


@settings(max_examples=40, deadline=None)
@given(
    rank=st.integers(1, 6),
    alpha=st.floats(0.01, 64),
    scale=st.sampled_from([0.5, 1.0, 2.0]),
    half=st.booleans(),
    kohya=st.booleans(),
    convolution=st.booleans(),
)
def test_an_update_is_what_the_file_makes_of_it(rank, alpha, scale, half, kohya, convolution) -> None:
    layer, rng = "mid_block.attentions.0.proj_in", torch.Generator().manual_seed(0)
    shapes = {f"{layer}.lora_A.weight": (rank, 7), f"{layer}.lora_B.weight": (5, rank)}
    dtype = torch.float16 if half else torch.float32
    inner, outer = (torch.randn(shape, generator=rng).to(dtype) for shape in shapes.values())
    names = ("lora_unet_mid_block_attentions_0_proj_in.lora_down", "lora_unet_mid_block_attentions_0_proj_in.lora_up")
    first, second = names if kohya else (f"unet.{layer}.lora_A", f"unet.{layer}.lora_B")
    base = first.rpartition(".")[0]
    state = {f"{first}.weight": inner, f"{second}.weight": outer, f"{base}.alpha": torch.tensor(alpha)}
    if convolution:
        state = {name: one[..., None, None] if one.ndim == 2 else one for name, one in state.items()}
    found, rest = low_rank(state, shapes, scale=scale)
    assert not rest
    ours = scale * found[f"{layer}.lora_B.weight"].float() @ found[f"{layer}.lora_A.weight"].float()
    torch.testing.assert_close(ours, alpha / rank * outer.float() @ inner.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        *("dora_scale", "lora_mid.weight", "hada_w1_a", "hada_w2_b", "lokr_w1", "lokr_t2", "oft_blocks"),
        *("lora_magnitude_vector.default", "boft_R"),
    ],
)
def test_updates_of_other_kinds_are_refused_also_in_part(name: str) -> None:
    state = updates() | PROMPT | {f"mid_block.attentions.0.proj_in.{name}": torch.ones(1)}
    with pytest.raises(ModelError, match="is not plain LoRA; merge it"):
        converted_from(PUBLISHED["d3sr"], state, FILE)


@pytest.mark.parametrize("alpha", [torch.tensor(math.nan), torch.ones(2), torch.tensor(math.inf), torch.ones(0)])
def test_an_alpha_that_is_no_number_is_refused(alpha: Tensor) -> None:
    state = {"x.lora_A.weight": torch.ones(2, 3), "x.lora_B.weight": torch.ones(3, 2), "x.alpha": alpha}
    with pytest.raises(ModelError, match=r"x\.alpha \(=\[.*\]\) must be one finite number"):
        low_rank(state, {}, scale=1.0)


def test_strengths_of_some_updates_only_are_refused_and_one_without_an_update_is_named() -> None:
    pair = {"x.lora_A.weight": torch.ones(2, 3), "x.lora_B.weight": torch.ones(3, 2)}
    other = {name.replace("x.", "y."): one for name, one in pair.items()}
    with pytest.raises(ModelError, match=r"an alpha for 1 of its updates but none for y\.lora_B\.weight"):
        low_rank(pair | other | {"x.alpha": torch.tensor(1.0)}, {}, scale=1.0)
    found, rest = low_rank(pair | {"z.alpha": torch.tensor(1.0)}, {}, scale=1.0)
    assert (set(found), set(rest)) == (set(pair), {"z.alpha"})
