"""A training run as TOML: tables that mirror the stage's dataclasses, and `[run]` for the command's options.

    batch = 8

    [optimizer]
    learning_rate = 1e-4

    [run]
    stage = "fidelity"
    data = ["photos"]

What a file sets is handed on as text, "optimizer.learning_rate" -> "0.0001", so that it is read and checked exactly as
what `--set` says. None is written "none", as TOML has no word for it.
"""

import dataclasses
import difflib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from sdsr.errors import InputError
from sdsr.methods.recipe import Stage

RUN = "run"


def read_toml(path: Path) -> dict[str, object]:
    """Return the file's tables; raise InputError where it is missing or no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"config (={path}) can't be read ({error.strerror}); name a TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"config (={path}) is no TOML ({error}); `--print-config` shows a valid one.") from error


def stage_changes(tables: Mapping[str, object]) -> dict[str, str]:
    """Return what the tables change in a stage, as `--set` would say it; `[run]` is not of the stage."""
    return dict(_leaves({key: value for key, value in tables.items() if key != RUN}))


def run_options(tables: Mapping[str, object], known: Iterable[str]) -> dict[str, object]:
    """Return the options of `[run]`, dashes read as underscores; raise InputError for one that is not `known`."""
    table = tables.get(RUN, {})
    if not isinstance(table, dict):
        raise InputError(f"{RUN} (={table}) must be a table, [{RUN}], of options such as data and seed.")
    options = {key.replace("-", "_"): value for key, value in table.items()}
    names = sorted(known)
    for name in options:
        if name not in names:
            nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
            raise InputError(f"option (={name}) of [{RUN}] is unknown; did you mean {nearest!r}?")
    return options


def stage_toml(stage: Stage) -> str:
    """Return the stage's settings as TOML that can be read back; what only code can say stands in comments."""
    lines = [*_table(stage, ""), "", f"[{RUN}]", f"stage = {json.dumps(stage.name)}"]
    return "\n".join(lines) + "\n"


def canonical_leaves(value: object, path: str = "") -> dict[str, str]:
    """Return a stage's settings by their dotted names, each as TOML: what a run is known by.

    Of what only code can say, as a term's function, there is what code was told (its name and numbers), not what it is
    called: a function or class may be renamed, and a run that began before goes on.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value) if field.compare]
    elif isinstance(value, tuple) and _written(value) is None:
        inner = [(getattr(part, "name", str(place)), part) for place, part in enumerate(value)]
    elif isinstance(value, partial):
        inner = [(str(place), part) for place, part in enumerate((*value.args, *value.keywords.values()))]
    else:
        written = _written(value)
        return {} if written is None else {path: written}
    found: dict[str, str] = {}
    for name, part in inner:
        found |= canonical_leaves(part, f"{path}.{name}" if path else name)
    return found


def canonical_toml(stage: Stage) -> str:
    """Return the canonical leaves as TOML, a line for each, in alphabetical order."""
    return "".join(f"{_dotted(name)} = {text}\n" for name, text in sorted(canonical_leaves(stage).items()))


def _dotted(name: str) -> str:
    parts = (part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part) for part in name.split("."))
    return ".".join(parts)


def _leaves(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _spoken(value)


def _spoken(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(_spoken, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table(value: object, path: str) -> Iterator[str]:
    """Yield a dataclass's leaves, then a table for each dataclass in it."""
    assert dataclasses.is_dataclass(value), "only these are tables"
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    inner = {name: field for name, field in fields.items() if dataclasses.is_dataclass(field)}
    for name, field in fields.items():
        if name in inner or (not path and name == "name"):  # the stage's own name is an option of the run
            continue
        written = _written(field)
        yield f"{name} = {written}" if written is not None else f"# {name} is code: {_label(field)}"
    for name, field in inner.items():
        yield from ("", f"[{path}{name}]", *_table(field, f"{path}{name}."))


def _written(value: object) -> str | None:
    """Return a leaf as TOML, None for what is no leaf."""
    if value is None:
        return '"none"'
    if value in (math.inf, -math.inf):
        return str(value)  # TOML's word for it; JSON has none
    if isinstance(value, bool | int | float | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple) and all(isinstance(part, int | float | str) for part in value):
        return json.dumps(list(value), ensure_ascii=False)
    return None


def _label(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(_label(part) for part in value) or "()"
    return str(getattr(value, "name", None) or getattr(value, "__name__", None) or type(value).__name__)
