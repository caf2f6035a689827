"""Modules below a root, by the names of another network."""

from torch import nn

from sdsr.adapters.placing import place


def test_what_is_placed_has_the_path_for_its_name_and_neighbors_stay():
    root = nn.Module()
    place(nn.Linear(2, 3), root, "down.0.to_out.0")
    place(nn.Linear(3, 2, bias=False), root, "down.0.to_q")
    place(nn.Identity(), root, "mid")
    assert [name for name, _ in root.named_parameters()] == [
        "down.0.to_out.0.weight",
        "down.0.to_out.0.bias",
        "down.0.to_q.weight",
    ]
    assert isinstance(root.get_submodule("mid"), nn.Identity)
