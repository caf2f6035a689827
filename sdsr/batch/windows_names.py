"""Names that Windows allows, for those made there. Source: Microsoft, "Naming Files, Paths, and Namespaces"."""

import re

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_DEVICES = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])", re.IGNORECASE)


def windows_name(stem: str, ending: str = "") -> tuple[str, str]:
    """Return the stem and the ending of a name as Windows allows them together, changed only where they must be.

    Signs that no name may hold become `_`; a name of a device (CON, aux.jpg, com1.tar.png) gets a `_` after the device;
    dots and spaces at the end, which Windows drops, become `_`.
    """
    stem = _FORBIDDEN.sub("_", stem)
    ending = _FORBIDDEN.sub("_", ending)
    base, dot, rest = stem.partition(".")
    own = base if dot else base + ending.partition(".")[0]
    if _DEVICES.fullmatch(own.rstrip(" ")):
        stem = f"{base.rstrip(' ')}_{dot}{rest}"
    name = stem + ending
    kept = name.rstrip(" .")
    if kept == name and name:
        return stem, ending
    fixed = kept + "_" * max(1, len(name) - len(kept))
    return (fixed[: len(stem)], fixed[len(stem) :]) if ending else (fixed, "")
