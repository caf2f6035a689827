"""The head of a JPEG XL codestream: size, orientation, depth, channels, color. Source: ISO/IEC 18181-1, annex D."""

from dataclasses import dataclass

from sdsr.errors import InputError

_HEAD_BYTES = 4096
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_ALPHA = 0  # kinds of extra channel
_RGB = 0
_GRAY = 1
LINEAR = 8  # transfer functions
SRGB = 13
_CUSTOM = 2  # white point or primaries in numbers

Distribution = tuple[int | tuple[int, int], ...]
"""Four ways to code a number: a constant, or (least, bits that follow)."""

_ENUM: Distribution = (0, 1, (2, 4), (18, 6))
_SIDE: Distribution = ((1, 9), (1, 13), (1, 18), (1, 30))
_COORDINATE: Distribution = ((0, 19), (524288, 19), (1048576, 20), (2097152, 21))


@dataclass(frozen=True, slots=True, kw_only=True)
class Color:
    """What the codestream says of color; white point and primaries are an enumerated value or coordinates."""

    gray: bool = False
    profile: bool = False  # an ICC profile follows
    white: int | tuple[float, ...] = 1
    primaries: int | tuple[float, ...] = 1
    transfer: int = SRGB
    gamma: float | None = None
    transfer_bit: int | None = None  # where in the codestream the transfer function stands, if it is one of 2 ... 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a codestream; sizes are as stored, before orientation."""

    width: int
    height: int
    orientation: int = 1
    bits: int = 8
    alpha: bool = False
    associated: bool = False
    lossy: bool = True  # coded in XYB
    color: Color = Color()


class _Bits:
    """Reads numbers from bits, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "little")
        self._left = 8 * len(data)
        self.position = 0

    def number(self, count: int) -> int:
        if count > self._left:
            raise ValueError("the head of the codestream is cut short")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._left -= count
        self.position += count
        return value

    def flag(self) -> bool:
        return bool(self.number(1))

    def coded(self, distribution: Distribution) -> int:
        way = distribution[self.number(2)]
        return way if isinstance(way, int) else way[0] + self.number(way[1])


def read_head(codestream: bytes) -> Head:
    """Return the head of a codestream. Raises InputError for what is no photo of 1 to 16 bits; ValueError if broken."""
    if codestream[:2] != b"\xff\x0a":
        raise ValueError("no codestream")
    bits = _Bits(codestream[:_HEAD_BYTES])
    bits.number(16)
    width, height = _size(bits)
    if bits.flag():
        return Head(width=width, height=height)
    orientation = _extra_fields(bits) if bits.flag() else 1
    depth = _depth(bits)
    bits.flag()  # whether 16 bits are enough for the buffers of a decoder
    alphas = [_extra_channel(bits) for _ in range(bits.coded((0, 1, (2, 4), (1, 12))))]
    lossy = bits.flag()
    return Head(
        width=width,
        height=height,
        orientation=orientation,
        bits=depth,
        alpha=bool(alphas),
        associated=any(alphas),
        lossy=lossy,
        color=_color(bits) if len(alphas) < 2 else _refuse(f"{len(alphas)} extra channels", "one, of alpha"),
    )


def with_srgb_transfer(codestream: bytes) -> bytes:
    """Return the codestream with its transfer function, which is linear, called sRGB's: that is of the same length."""
    place = read_head(codestream).color.transfer_bit
    assert place is not None, "the encoder writes a transfer function"
    bits = int.from_bytes(codestream[:_HEAD_BYTES], "little")
    changed = bits & ~(15 << place) | (SRGB - 2) << place
    return changed.to_bytes(len(codestream[:_HEAD_BYTES]), "little") + codestream[_HEAD_BYTES:]


def _refuse(found: str, limit: str) -> Color:
    raise InputError(f"the JPEG XL is no plain photo (={found}), limit {limit}; save it as such, or as PNG.")


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.flag()
    height = 8 * (1 + bits.number(5)) if small else bits.coded(_SIDE)
    ratio = bits.number(3)
    if ratio:
        return height * _RATIOS[ratio][0] // _RATIOS[ratio][1], height
    return (8 * (1 + bits.number(5)) if small else bits.coded(_SIDE)), height


def _extra_fields(bits: _Bits) -> int:
    """Return the orientation."""
    orientation = 1 + bits.number(3)
    if bits.flag():
        _size(bits)  # at which it is to be shown
    if bits.flag():
        _preview(bits)
    if bits.flag():
        raise InputError(
            "the JPEG XL is an animation (=one frame or more), which isn't read; save one frame as a photo."
        )
    return orientation


def _preview(bits: _Bits) -> None:
    coarse = bits.flag()
    side: Distribution = (16, 32, (1, 5), (33, 9)) if coarse else ((1, 6), (65, 8), (321, 10), (1345, 12))
    bits.coded(side)
    if bits.number(3) == 0:
        bits.coded(side)


def _depth(bits: _Bits) -> int:
    if bits.flag():
        _refuse("samples in floating point", "integers of 1 to 16 bits")
    depth = bits.coded((8, 10, 12, (1, 6)))
    if depth > 16:
        _refuse(f"{depth} bits a channel", "16")
    return depth


def _extra_channel(bits: _Bits) -> bool:
    """Read an extra channel, which must be alpha; return whether colors are multiplied by it."""
    if bits.flag():
        return False
    kind = bits.coded(_ENUM)
    if kind != _ALPHA:
        _refuse("an extra channel that isn't alpha", "alpha")
    _depth(bits)
    if bits.coded((0, 3, 4, (1, 3))):
        _refuse("an alpha of lower resolution", "alpha of the photo's")
    for _ in range(bits.coded((0, (0, 4), (16, 5), (48, 10)))):
        bits.number(8)  # its name
    return bits.flag()


def _color(bits: _Bits) -> Color:
    if bits.flag():
        return Color()
    profile = bits.flag()
    space = bits.coded(_ENUM)
    if space not in (_RGB, _GRAY):
        _refuse("another color space", "gray or RGB")
    gray = space == _GRAY
    if profile:
        return Color(gray=gray, profile=True)
    white = bits.coded(_ENUM)
    white_point = _coordinates(bits, 1) if white == _CUSTOM else white
    kind = 1 if gray else bits.coded(_ENUM)
    primaries = _coordinates(bits, 3) if kind == _CUSTOM else kind
    gamma = bits.number(24) / 1e7 if bits.flag() else None
    transfer = 0 if gamma is not None else bits.coded(_ENUM)
    place = bits.position - 4 if 2 <= transfer < 18 else None
    return Color(gray=gray, white=white_point, primaries=primaries, transfer=transfer, gamma=gamma, transfer_bit=place)


def _coordinates(bits: _Bits, points: int) -> tuple[float, ...]:
    coded = (bits.coded(_COORDINATE) for _ in range(2 * points))
    return tuple((value // 2 if value % 2 == 0 else -(value + 1) // 2) / 1e6 for value in coded)
