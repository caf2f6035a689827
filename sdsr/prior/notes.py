"""What is remembered of tensors as long as they live, and a lock, for objects that can be copied and pickled."""

import threading
import weakref
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary


class TensorNotes(WeakTensorKeyDictionary):
    """Values by tensor; a copy of it, or what was pickled, is empty, since it will see other tensors."""

    def __reduce__(self) -> tuple[object, ...]:
        return TensorNotes, ()

    def __deepcopy__(self, memo: object) -> "TensorNotes":
        return TensorNotes()


class OwnLock:
    """A lock; a copy of it, or what was pickled, is another one, and open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[object, ...]:
        return OwnLock, ()


class Made:
    """A tensor that can be made again at any time, and may be kept for a while."""

    def __init__(self, make: Callable[[], Tensor]) -> None:
        self.make = make
        self.kept: Tensor | None = None


class LatestMade:
    """Keeps the latest `count` tensors that were asked for, no longer than they are known; copies keep their own."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._latest: deque[weakref.ref[Made]] = deque()

    def value(self, made: Made) -> Tensor:
        """Return the tensor, made now unless it is kept; with gradients it is always made."""
        if torch.is_grad_enabled():
            return made.make()
        value = made.kept
        if value is None:
            value = made.kept = made.make()
            self._latest.append(weakref.ref(made))
        while len(self._latest) > self.count:
            oldest = self._latest.popleft()()
            if oldest is not None:
                oldest.kept = None
        return value

    def __reduce__(self) -> tuple[object, ...]:
        return LatestMade, (self.count,)
