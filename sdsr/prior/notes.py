"""What is remembered of tensors as long as they live, and a lock, for objects that can be copied and pickled."""

import threading

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
