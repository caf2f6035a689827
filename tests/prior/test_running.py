"""How a prior runs: what is decided for a device, what is kept of a probe, and that results stay what they are."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from sdsr import kept_probes
from sdsr.prior import running
from sdsr.prior.attention import RowwiseAttention
from sdsr.prior.loading import load_prior
from sdsr.prior.running import computing, layout_on, move_network, probe_for, running_on

CPU = torch.device("cpu")
META = torch.device("meta")


class Large(nn.Module):
    """Says that it has a billion parameters, and has one."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        return iter([nn.Parameter(torch.empty(10**9, device="meta"))])


@pytest.fixture
def multiplying(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A processor that multiplies bfloat16, of which nothing is known yet; the folder where answers are kept."""
    monkeypatch.setattr(kept_probes, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(running, "choose_dtype", lambda device: torch.bfloat16)
    running_on.cache_clear()
    yield tmp_path / "cache"
    running_on.cache_clear()


def attends_by_rows() -> bool:
    with computing(CPU, torch.bfloat16):
        return any(isinstance(mode, RowwiseAttention) for mode in torch.overrides._get_current_function_mode_stack())


@pytest.mark.parametrize(("ratio", "attention"), [(0.6, "by rows"), (0.97, "fused"), (1.4, "fused")])
def test_what_a_large_network_probed_for_decides(multiplying, monkeypatch, ratio, attention):
    assert running_on(CPU).attention == "by rows"
    assert attends_by_rows()
    monkeypatch.setattr(running, "probe", lambda: ratio)
    probe_for(nn.Linear(1, 1), CPU)
    assert not multiplying.exists(), "a small network is not worth a second"
    probe_for(Large(), CPU)
    assert running_on(CPU).attention == attention
    assert f"{ratio:.2f}" in running_on(CPU).words
    assert attends_by_rows() == (attention == "by rows")
    monkeypatch.setattr(running, "probe", lambda: pytest.fail("it is known"))
    probe_for(Large(), CPU)


def test_a_damaged_answer_is_none(multiplying, monkeypatch):
    monkeypatch.setattr(running, "probe", lambda: 1.4)
    probe_for(Large(), CPU)
    (file,) = multiplying.iterdir()
    file.write_text(file.read_text().replace("1.4", '"fast"'))
    running_on.cache_clear()
    assert running_on(CPU).attention == "by rows"


def test_in_float32_nothing_is_chosen(monkeypatch):
    with computing(CPU, torch.float32):
        assert not torch.is_autocast_enabled("cpu")
        assert torch.overrides._get_current_function_mode_stack() == []


def test_a_probe_tells_a_ratio(monkeypatch):
    monkeypatch.setattr(running, "_TOKENS", 256)
    monkeypatch.setattr(running, "_ROUNDS", 1)
    assert 0 < running.probe() < float("inf")


def lies(network: nn.Module) -> set[str]:
    """How weights of a network that can lie in two ways do."""
    weights = [w for w in network.parameters() if w.ndim == 4 and w.shape[1] > 1 and w.shape[-1] > 1]
    return {"contiguous" if weight.is_contiguous() else "channels_last" for weight in weights}


def test_weights_are_contiguous_on_cards_whose_norms_are_slow_otherwise():
    assert layout_on(torch.device("cuda:1")) == torch.contiguous_format
    assert layout_on(CPU) == layout_on(torch.device("mps")) == torch.channels_last
    assert "channels_last" in running_on(CPU).words


def test_a_network_is_laid_out_anew_on_a_device_of_another_kind_alone(monkeypatch):
    """ "meta" stands in for a card: layouts are seen there, too."""
    layouts = {META: torch.contiguous_format, CPU: torch.channels_last}
    monkeypatch.setattr(running, "layout_on", layouts.__getitem__)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4))
    assert lies(move_network(network, "cpu")) == {"contiguous"}, "as it was"
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert lies(running.lay_out(network, CPU)) == {"channels_last"}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert lies(move_network(network, CPU)) == {"channels_last"}
    assert lies(move_network(network, META)) == {"contiguous"}


def test_a_prior_s_networks_are_laid_out_where_they_go(monkeypatch):
    layouts = {META: torch.contiguous_format, CPU: torch.channels_last}
    monkeypatch.setattr(running, "layout_on", layouts.__getitem__)
    prior = load_prior("small")
    assert lies(prior.network) == lies(prior.autoencoder.model) == {"channels_last"}
    prior.to("meta")
    assert lies(prior.network) == lies(prior.autoencoder.model) == {"contiguous"}
