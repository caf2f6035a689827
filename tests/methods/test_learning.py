"""What learns, as names: parts, modules in them, patterns, exceptions, and names of nothing."""

import pytest
from torch import nn

from sdsr.errors import InputError
from sdsr.methods.learning import Learns


def parts() -> dict[str, nn.Module]:
    block = nn.ModuleDict({"attn2": nn.Linear(2, 2), "conv": nn.Linear(2, 2)})
    return {"control": nn.ModuleDict({"blocks": nn.ModuleList([block])}), "head": nn.Linear(2, 2, bias=False)}


def learning(learns: Learns, modules: dict[str, nn.Module] | None = None) -> set[str]:
    modules = modules or parts()
    learns.apply(modules)
    return {f"{part}.{name}" for part, m in modules.items() for name, p in m.named_parameters() if p.requires_grad}


def test_everything_learns_unless_stated_also_what_was_frozen():
    modules = parts()
    modules["head"].requires_grad_(False)
    assert len(learning(Learns(), modules)) == 5


@pytest.mark.parametrize(
    ("learns", "expected"),
    [
        (Learns(parts=("head",)), {"head.weight"}),
        (Learns(parts=("control.blocks.0.conv",)), {"control.blocks.0.conv.weight", "control.blocks.0.conv.bias"}),
        (Learns(parts=("control.*.bias",)), {"control.blocks.0.conv.bias", "control.blocks.0.attn2.bias"}),
        (
            Learns(parts=("control",), but=("control.*.attn2.*",)),
            {"control.blocks.0.conv.weight", "control.blocks.0.conv.bias"},
        ),
        (Learns(parts=("head", "control.blocks.0.conv.bias")), {"head.weight", "control.blocks.0.conv.bias"}),
        (Learns(parts=("head",), but=("tagger",)), {"head.weight"}),
    ],
)
def test_names_mean_parts_modules_and_patterns(learns: Learns, expected: set[str]):
    assert learning(learns) == expected


def test_a_shared_parameter_learns_under_any_of_its_names():
    shared = nn.Linear(2, 2)
    assert learning(Learns(parts=("b",)), {"a": shared, "b": shared}) == {"a.weight", "a.bias", "b.weight", "b.bias"}


@pytest.mark.parametrize("learns", [Learns(parts=("haed",)), Learns(but=("head.wieght",))])
def test_a_name_of_nothing_is_an_error_with_the_nearest(learns: Learns):
    with pytest.raises(InputError, match=r"learns \(=\S+\) means no parameter of control, head; did you mean 'head"):
        learning(learns)
