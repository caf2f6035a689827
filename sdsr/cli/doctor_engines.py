"""What can restore here beside torch, for `sdsr doctor`."""

from dataclasses import dataclass
from typing import get_args

from sdsr.errors import ModelError
from sdsr.graphs.description import read_graphs
from sdsr.graphs.probing import LIMIT, Probed, machine, recall
from sdsr.graphs.runtimes import REMEDIES, Runtime, in_bfloat16, runtimes_here
from sdsr.method_folders import ASSETS
from sdsr.models import DEFAULT_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHere:
    """A runtime of graphs: whether it is here, and what a probe found of it, None where none was made."""

    engine: Runtime
    here: bool
    probed: Probed | None

    @property
    def verdict(self) -> str:
        """Return it in words."""
        if not self.here:
            return f"not here: {REMEDIES[self.engine]}".replace("[", "\\[")
        ready = "ready, in bfloat16" if in_bfloat16(self.engine) else "ready"
        if self.probed is None:
            return ready
        if self.probed.difference > LIMIT:
            return f"not taken: {self.probed.difference:.1f} of 255 from the CPU's results"
        return f"{ready}: opened in {self.probed.open_seconds:.2f} s, a photo in {self.probed.photo_seconds:.2f} s"


def engines() -> list[EngineHere]:
    """Return the runtimes of graphs, with what is kept of a probe on the embedded default."""
    here = runtimes_here()
    try:
        probed = recall(machine(read_graphs(ASSETS / DEFAULT_MODEL), here)) or {}
    except ModelError:
        probed = {}
    return [EngineHere(engine=name, here=name in here, probed=probed.get(name)) for name in get_args(Runtime)]
