"""The size that an AV1 bitstream codes, whatever its container says. Source: AV1 bitstream specification, 5.3, 5.5."""

_SEQUENCE_HEADER = 1
_MAX_HEAD_BYTES = 256


class _Bits:
    """Reads numbers from bits, the highest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def number(self, count: int) -> int:
        if count > self._left:
            raise ValueError("the head of the bitstream is cut short")
        self._left -= count
        return (self._bits >> self._left) & ((1 << count) - 1)


def sequence_size(payload: bytes) -> tuple[int, int]:
    """Return (width, height) of the largest frame that a bitstream may hold. Raises ValueError where it is broken."""
    start = 0
    while start < len(payload):
        head = payload[start]
        start += 2 if head & 4 else 1
        if not head & 2:
            size = len(payload) - start
        else:
            size, start = _leb128(payload, start)
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            return _size(_Bits(payload[start : start + min(size, _MAX_HEAD_BYTES)]))
        start += size
    raise ValueError("the bitstream has no sequence header")


def _leb128(payload: bytes, start: int) -> tuple[int, int]:
    """Return a number in groups of seven bits, and where it ends."""
    value = 0
    for index in range(8):
        if start + index >= len(payload):
            break
        byte = payload[start + index]
        value |= (byte & 127) << 7 * index
        if not byte & 128:
            return value, start + index + 1
    raise ValueError("a size in the bitstream is cut short")


def _size(bits: _Bits) -> tuple[int, int]:
    bits.number(4)  # profile, and whether it is a still picture
    if bits.number(1):  # a reduced header
        bits.number(5)
    else:
        _operating_points(bits)
    width_bits = 1 + bits.number(4)
    height_bits = 1 + bits.number(4)
    return 1 + bits.number(width_bits), 1 + bits.number(height_bits)


def _operating_points(bits: _Bits) -> None:
    if bits.number(1):
        raise ValueError("the bitstream is timed, which no photo is")
    delayed = bits.number(1)
    for _ in range(1 + bits.number(5)):
        bits.number(12)
        if bits.number(5) > 7:
            bits.number(1)
        if delayed and bits.number(1):
            bits.number(4)
