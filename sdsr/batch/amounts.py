"""Amounts of memory as they are written."""

import re

from sdsr.errors import InputError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def parse_bytes(text: str) -> int:
    """Return a number of bytes written as 8GB, 512MB, 2GiB, 2G or 100000000; raise InputError for anything else.

    >>> parse_bytes("2GiB"), parse_bytes("1.5 gb")
    (2147483648, 1500000000)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]I?)?B?\s*", text, re.IGNORECASE)
    amount = int(float(match[1]) * _UNITS[(match[2] or "").upper()]) if match else 0
    if amount < 1:
        raise InputError(f"memory (={text}) must be an amount like 8GB, 512MB or 2GiB.")
    return amount
