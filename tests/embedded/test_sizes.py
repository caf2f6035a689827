"""How large what comes with the package is, and that no weight is in it twice."""

from pathlib import Path

from safetensors.torch import load_file

from sdsr.method_folders import ASSETS, embedded_methods
from sdsr.models import DEFAULT_MODEL
from sdsr.prior.eight_bits import LEAST_ELEMENTS

MIB = 2**20
MOST_BYTES = 60 * MIB
MOST_OF_DEFAULT = 20 * MIB
MOST_OF_METHOD = 10 * MIB


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_all_together_and_each_method_keep_within_their_limits() -> None:
    assert size_of(ASSETS) <= MOST_BYTES
    for name, folder in embedded_methods().items():
        assert size_of(folder) <= (MOST_OF_DEFAULT if name == DEFAULT_MODEL else MOST_OF_METHOD), name


def test_no_large_weight_is_stored_twice() -> None:
    seen: dict[bytes, str] = {}
    for path in sorted(ASSETS.rglob("*.safetensors")):
        for name, tensor in load_file(path).items():
            place = f"{path.parent.name}/{path.name}: {name}"
            if tensor.numel() >= LEAST_ELEMENTS:
                first = seen.setdefault(tensor.numpy().tobytes(), place)
                assert first == place, f"{place} is {first}"
    assert len(seen) > 100
