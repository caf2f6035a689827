"""Amounts of memory as they are written."""

import pytest

from sdsr.batch.amounts import parse_bytes
from sdsr.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"), [("8GB", 8 * 10**9), ("512 MiB", 2**29), ("1.5g", 1_500_000_000), ("1000", 1000)]
)
def test_amounts(text: str, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "8XB"])
def test_other_amounts_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="8GB"):
        parse_bytes(text)
