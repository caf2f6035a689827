"""A part of a folder's photos, the same on every machine that sees the same tree, so that many share it unasked."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from sdsr.batch.walking import Task
from sdsr.errors import InputError

_FORM = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The part `number` of `count`, counted from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Return the shard of "K/N"; raise InputError unless 1 <= K <= N."""
        match = _FORM.fullmatch(text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InputError(f"shard (={text}) must be K/N with 1 <= K <= N, such as 1/8 ... 8/8.")
        return cls(number=int(match[1]), count=int(match[2]))

    def holds(self, name: str) -> bool:
        """Whether a result of this name, relative and with slashes, is of this part; its letters however composed."""
        composed = unicodedata.normalize("NFC", name).encode(errors="surrogateescape")
        return int.from_bytes(hashlib.sha256(composed).digest()[:8], "big") % self.count == self.number - 1

    def of(self, tasks: Sequence[Task]) -> list[Task]:
        """Return the tasks of this part. Names were made distinct before, so that each is the same in all parts."""
        return [task for task in tasks if self.holds(task.result_name)]
