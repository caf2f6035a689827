"""What of a method's parts a stage trains, as data: names of parts and of what is in them, applied in one place."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from sdsr.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Learns:
    """Which parameters learn: those that a name in `parts` means, but for those that one in `but` means.

    A parameter is named by its part and its place in it: "controlnet.mid_block.resnets.0.conv1.weight". A name means
    the parameter, or all that is in a module of that name ("controlnet", "decoder.faithful"), or is a glob pattern of
    whole names ("controlnet.*.attn2.*"). Names in `but` of parts that a method has on other priors are passed over.
    """

    parts: tuple[str, ...] = ("*",)
    but: tuple[str, ...] = ()

    def apply(self, modules: Mapping[str, nn.Module]) -> None:
        """Let exactly these parameters of named modules require gradients; raise InputError for a name of nothing.

        A parameter that two parts share learns where one of its names does.
        """
        named = [(f"{part}.{name}", p) for part, module in modules.items() for name, p in module.named_parameters()]
        within = [pattern for pattern in self.but if pattern.partition(".")[0] in modules]
        for pattern in (*self.parts, *within):
            _check_used(pattern, [name for name, _ in named], modules)
        learning = {id(parameter) for name, parameter in named if self.includes(name)}
        for _, parameter in named:
            parameter.requires_grad_(id(parameter) in learning)

    def includes(self, name: str) -> bool:
        """Return whether the parameter of this whole name learns."""
        return _is_meant(name, self.parts) and not _is_meant(name, self.but)


def _is_meant(name: str, patterns: Iterable[str]) -> bool:
    return any(name.startswith(f"{pattern}.") or fnmatchcase(name, pattern) for pattern in patterns)


def _check_used(pattern: str, names: list[str], parts: Iterable[str]) -> None:
    if any(_is_meant(name, (pattern,)) for name in names):
        return
    known = sorted({*parts, *names})
    nearest = difflib.get_close_matches(pattern, known, n=1, cutoff=0.0)
    hint = f"did you mean {nearest[0]!r}?" if nearest else "there are none."
    raise InputError(f"learns (={pattern}) means no parameter of {', '.join(parts)}; {hint}")
