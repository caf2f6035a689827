"""A CMYK profile to test with."""

import struct

import numpy as np
import pytest

# Bradford-adapted sRGB primaries at D50, and the white of the profile connection space.
_TO_XYZ = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
_WHITE = _TO_XYZ.sum(axis=1)


@pytest.fixture(scope="session")
def cmyk_profile() -> bytes:
    """A CMYK profile of plain inks, rgb = (1 - cmy)(1 - k), as 8-bit tables (ICC.1:2001, 6.5.8)."""
    inks = np.stack(np.meshgrid(*[np.linspace(0, 1, 9)] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    lab = _lab((1 - inks[:, :3]) * (1 - inks[:, 3:]))
    nodes = np.stack(np.meshgrid(*[np.linspace(0, 255, 33)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    rgb = _rgb(nodes * [100 / 255, 1, 1] - [0, 128, 128])
    cmyk = np.concatenate((1 - rgb, np.zeros((len(rgb), 1))), axis=1) * 255
    tags = {
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
        b"A2B0": _table(4, 3, 9, lab * [2.55, 1, 1] + [0, 128, 128]),
        b"B2A0": _table(3, 4, 33, cmyk),
    }
    index, body, offset = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        index += name + struct.pack(">II", offset + len(body), len(data))
        body += padded
    head = struct.pack(">I4sI4s4s4s", 128 + len(index) + len(body), b"none", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + index + body


def _table(inputs: int, outputs: int, grid: int, nodes: np.ndarray) -> bytes:
    ramp, identity = bytes(range(256)), struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    values = np.rint(nodes.clip(0, 255)).astype(np.uint8).tobytes()
    head = b"mft1\0\0\0\0" + bytes((inputs, outputs, grid, 0))
    return head + identity + ramp * inputs + values + ramp * outputs


def _lab(rgb: np.ndarray) -> np.ndarray:
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    ratio = linear @ _TO_XYZ.T / _WHITE
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), ratio * 841 / 108 + 4 / 29)
    return np.stack((116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])), axis=1)


def _rgb(lab: np.ndarray) -> np.ndarray:
    y = (lab[:, 0] + 16) / 116
    f = np.stack((y + lab[:, 1] / 500, y, y - lab[:, 2] / 200), axis=1)
    xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * 108 / 841) * _WHITE
    linear = (xyz @ np.linalg.inv(_TO_XYZ).T).clip(0, 1)
    return np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
