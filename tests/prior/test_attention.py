"""Attention by rows: that it is attention, and where it stands in for torch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sdsr.prior import attention
from sdsr.prior.attention import RowwiseAttention, by_rows


@pytest.mark.parametrize("tokens", [1, 512, 600])
def test_attention_by_rows_is_attention(rng, tokens):
    query, key, value = torch.randn(3, 2, 3, tokens, 16, generator=rng)
    expected = F.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(by_rows(query, key, value), expected, atol=1e-6, rtol=1e-5)
    offset = 40 * torch.randn(2, 3, 1, 16, generator=rng)  # common to all keys, so nothing to a softmax
    half = by_rows(query.bfloat16(), (key + offset).bfloat16(), value.bfloat16())
    fused = F.scaled_dot_product_attention(query.bfloat16(), (key + offset).bfloat16(), value.bfloat16())
    worst = (expected - fused.float()).norm()
    assert (expected - half.float()).norm() < 1.1 * worst + 1e-2 * expected.norm()


@pytest.fixture
def rowwise(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The queries that are attended by rows."""
    seen: list[Tensor] = []
    monkeypatch.setattr(attention, "by_rows", lambda *qkv: seen.append(qkv[0]) or by_rows(*qkv))
    return seen


def test_it_stands_in_for_inference_in_bfloat16_over_many_keys(rng, rowwise):
    query, key, value = torch.randn(3, 1, 2, 1024, 16, generator=rng).bfloat16()
    with torch.no_grad(), RowwiseAttention():
        attended = F.scaled_dot_product_attention(query, key, value=value, dropout_p=0.0)
    assert len(rowwise) == 1
    expected = F.scaled_dot_product_attention(query.float(), key.float(), value.float())
    assert float((attended.float() - expected).norm() / expected.norm()) < 0.01


def test_elsewhere_attention_is_torchs_own(rng, rowwise):
    query, key, value = torch.randn(3, 1, 2, 1024, 16, generator=rng).bfloat16()
    mask = torch.ones(1024, 1024, dtype=torch.bool)
    with RowwiseAttention():
        F.scaled_dot_product_attention(query, key, value)  # which may have to learn
        with torch.no_grad():
            F.scaled_dot_product_attention(query, key, value, is_causal=True)
            F.scaled_dot_product_attention(query, key, value, mask)
            F.scaled_dot_product_attention(query, key, value, scale=0.3)
            F.scaled_dot_product_attention(query.float(), key.float(), value.float())
            F.scaled_dot_product_attention(query, key[..., :77, :], value[..., :77, :])  # a prompt
    assert rowwise == []
    with torch.no_grad():
        F.scaled_dot_product_attention(query, key, value)
    assert rowwise == []
