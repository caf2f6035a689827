"""What checks the package's types while tests run: a wrong one is refused wherever it appears."""

import sys
from collections.abc import Callable
from importlib.util import module_from_spec
from types import ModuleType

import pytest
import torch
from jaxtyping import TypeCheckError

from tests.checked import CheckedModules

MODULE = """
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sdsr.tensors import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    lq: Image
    name: "str"

    def larger(self, factor: int) -> "Pair":
        return self

    @property
    def count(self) -> int:
        return self.name


class Shown(Pair):
    pass


def same(first: Image, second: Image) -> Image:
    return first


def cut(image: Image, to: int) -> Image:
    return image[..., :to]


def filled(height: int, to: int) -> Float[Tensor, "{height}"]:
    return Tensor(to)


def doubled(names: list["str"]) -> list[int]:
    return [*names, *names]


def each(count: int) -> Iterator[int]:
    yield count


def inner(unit: Callable[[object], object]) -> Callable[[object], object]:
    def convert(given: float) -> str:
        return unit(given)

    return convert


def inner_cut(to: int) -> Callable[[Image], Image]:
    def convert(image: Image) -> Image:
        return image[..., :to]

    return convert
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """A module that is found as those of the package are."""
    folder = tmp_path_factory.mktemp("checked")
    (folder / "checked_room.py").write_text(MODULE)
    spec = CheckedModules(["checked_room"]).find_spec("checked_room", [str(folder)])
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as found:
        found.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


WRONG = {
    "an argument": lambda made: made.each("1"),
    "an argument by name": lambda made: made.same(first=torch.zeros(1, 3, 8, 8), second=torch.zeros(1, 1, 8, 8)),
    "arrays of two sizes": lambda made: made.same(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9)),
    "a result of another size": lambda made: made.cut(torch.zeros(1, 3, 8, 8), 4),
    "a result of another size than was asked for": lambda made: made.filled(4, 5),
    "items of a result": lambda made: made.doubled(["a"]),
    "items in quotes": lambda made: made.doubled([1]),
    "a field": lambda made: made.Pair(lq=torch.zeros(3, 8, 8), name="a"),
    "a field in quotes": lambda made: made.Pair(lq=torch.zeros(1, 3, 8, 8), name=1),
    "a field of what is inherited": lambda made: made.Shown(lq=torch.zeros(3, 8, 8), name="a"),
    "a method": lambda made: made.Pair(lq=torch.zeros(1, 3, 8, 8), name="a").larger(0.5),
    "a property": lambda made: made.Pair(lq=torch.zeros(1, 3, 8, 8), name="a").count,
    "an argument of a function within": lambda made: made.inner(str)("1"),
    "a result of a function within": lambda made: made.inner(int)(1.0),
    "a result of another size within": lambda made: made.inner_cut(4)(torch.zeros(1, 3, 8, 8)),
}


@pytest.mark.parametrize("ask", WRONG.values(), ids=WRONG)
def test_what_has_the_wrong_type_is_refused(module: ModuleType, ask: Callable[[ModuleType], object]) -> None:
    with pytest.raises(TypeCheckError):
        ask(module)


def test_what_has_the_right_type_is_given_through(module: ModuleType) -> None:
    small, large = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9)
    assert module.same(small, small) is small
    assert module.same(large, large) is large
    assert module.cut(small, 8).shape == small.shape
    assert module.filled(4, 4).shape == (4,)
    assert module.Shown(lq=small, name="a").larger(2).name == "a"
    assert [*module.each(1)] == [1]
    assert (module.inner(str)(1.0), module.inner(repr)(2.0)) == ("1.0", "2.0")
    for image in (small, large):
        assert module.inner_cut(image.shape[-1])(image).shape == image.shape
