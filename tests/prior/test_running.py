"""How a prior runs: what is decided for a device, what is kept of a probe, and that results stay what they are."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from sdsr import kept_probes
from sdsr.prior import running
from sdsr.prior.attention import RowwiseAttention
from sdsr.prior.convolution import ConvolutionByProducts
from sdsr.prior.loading import load_prior
from sdsr.prior.running import computing, layout_on, move_network, probe_for, running_on

CPU = torch.device("cpu")
META = torch.device("meta")


class Large(nn.Module):
    """Says that it has a billion parameters, and has one."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        return iter([nn.Parameter(torch.empty(10**9, device="meta"))])


OTHERWISE = {torch.bfloat16: [RowwiseAttention, ConvolutionByProducts], torch.float32: [ConvolutionByProducts]}


@pytest.fixture(params=OTHERWISE, ids=str)
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[torch.dtype]:
    """What a processor computes in, of which nothing is known yet."""
    monkeypatch.setattr(kept_probes, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(running, "choose_dtype", lambda device: request.param)
    running_on.cache_clear()
    yield request.param
    running_on.cache_clear()


def entered(dtype: torch.dtype) -> list[type]:
    """The modes in which networks compute."""
    with computing(CPU, dtype):
        return [type(mode) for mode in torch.overrides._get_current_function_mode_stack()]


def assumed(dtype: torch.dtype) -> list[type]:
    decisions = running_on(CPU).decisions
    return [mode for mode, each in zip(OTHERWISE[dtype], decisions, strict=True) if each.choice.assumed]


@pytest.mark.parametrize(("ratio", "taken"), [(0.6, True), (0.97, False), (1.4, False)])
def test_what_a_large_network_probed_for_decides(dtype, tmp_path, monkeypatch, ratio, taken):
    assert entered(dtype) == assumed(dtype)
    monkeypatch.setattr(running, "probe", lambda choice: ratio)
    probe_for(nn.Linear(1, 1), CPU)
    assert not (tmp_path / "cache").exists(), "a small network is not worth a second"
    probe_for(Large(), CPU)
    assert entered(dtype) == (OTHERWISE[dtype] if taken else [])
    assert running_on(CPU).words.count(f"{ratio:.2f}") == len(OTHERWISE[dtype])
    monkeypatch.setattr(running, "probe", lambda choice: pytest.fail("it is known"))
    probe_for(Large(), CPU)


def test_choices_of_one_precision_are_decided_each_for_itself(monkeypatch, tmp_path, undecided):
    """Of a processor that multiplies bfloat16: its words tell both."""
    monkeypatch.setattr(kept_probes, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(running, "choose_dtype", lambda device: torch.bfloat16)
    ratios = iter((0.9, 1.3))
    monkeypatch.setattr(running, "probe", lambda choice: next(ratios))
    probe_for(Large(), CPU)
    assert entered(torch.bfloat16) == [RowwiseAttention]
    assert "attention by rows (probed: attention by rows takes 0.90" in running_on(CPU).words
    assert "convolutions direct (probed: convolutions by products takes 1.30" in running_on(CPU).words


def test_what_only_learned_parts_have_in_float32_is_left_to_autocast(rng, monkeypatch, undecided):
    """In bfloat16, a convolution of float32 weights is one in bfloat16, not by products in float32."""
    monkeypatch.setattr(running, "choose_dtype", lambda device: torch.bfloat16)
    layer = nn.Conv2d(128, 128, 3, padding=1)
    with torch.inference_mode(), computing(CPU, torch.bfloat16):
        assert layer(torch.randn(1, 128, 46, 46, generator=rng)).dtype == torch.bfloat16


def test_a_damaged_answer_is_none(dtype, tmp_path, monkeypatch):
    before = running_on(CPU)
    monkeypatch.setattr(running, "probe", lambda choice: 1.4)
    probe_for(Large(), CPU)
    (file,) = (tmp_path / "cache").iterdir()
    file.write_text(file.read_text().replace("1.4", '"fast"'))
    running_on.cache_clear()
    assert running_on(CPU) == before


@pytest.fixture
def undecided() -> Iterator[None]:
    """Nothing that was decided before, or is now, holds elsewhere."""
    running_on.cache_clear()
    yield
    running_on.cache_clear()


def test_convolutions_are_products_where_those_are_fast(undecided, monkeypatch, tmp_path):
    """Known of processors with MKL; of another one, a probe has to tell."""
    monkeypatch.setattr(kept_probes, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(running, "choose_dtype", lambda device: torch.float32)
    assert [each.taken for each in running_on(CPU).decisions] == [torch.backends.mkl.is_available()]


def test_a_precision_that_was_not_decided_is_computed_plainly(undecided, monkeypatch):
    monkeypatch.setattr(running, "choose_dtype", lambda device: torch.bfloat16)
    with computing(CPU, torch.float32):
        assert not torch.is_autocast_enabled("cpu")
        assert torch.overrides._get_current_function_mode_stack() == []


def test_a_probe_tells_a_ratio(dtype, monkeypatch):
    monkeypatch.setattr(running, "_TOKENS", 256)
    monkeypatch.setattr(running, "_MAP", (1, 16, 16, 16))
    monkeypatch.setattr(running, "_ROUNDS", 1)
    for each in running_on(CPU).decisions:
        assert 0 < running.probe(each.choice) < float("inf")


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
