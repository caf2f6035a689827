"""Answers of probes that are kept for machine and versions, so that each is asked for once; knows no torch."""

import json
import logging
import os
import platform
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from sdsr.extras import version_of
from sdsr.processor import processor_class

_log = logging.getLogger(__name__)
Key = Mapping[str, object]
"""All that an answer depends on."""


def cache_folder() -> Path:
    """Return where answers are kept: the user's cache folder."""
    import platformdirs

    return platformdirs.user_cache_path("sdsr", appauthor=False) / "runtimes"


def this_machine(packages: tuple[str, ...], threads: int) -> Key:
    """Return what any answer depends on: the processor, the threads that compute, versions of these packages."""
    return {
        "processor": [platform.node(), processor_class(), platform.processor(), os.cpu_count(), threads],
        "versions": {name: version for name in packages if (version := version_of(name))},
    }


def recall(key: Key) -> object:
    """Return the answer that is kept for this key; None where there is none, or a damaged or foreign one."""
    try:
        told = json.loads(_place(key).read_text(encoding="utf-8"))
        return told["probed"] if told["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep(key: Key, answer: object) -> None:
    """Keep an answer, whole or not at all; where that can't be, it is probed for again the next time."""
    place = _place(key)
    unfinished = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps({"key": key, "probed": answer}, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(place)
    except OSError as error:
        _log.warning("what was probed can't be kept in %s (%s)", place.parent, error.strerror)


def _place(key: Key) -> Path:
    return cache_folder() / f"{sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]}.json"
