"""What is going on, told to who listens: a slow listener gets the latest of each kind, and holds nobody up.

One that takes nothing away while hundreds of jobs pass is let go: when it listens again, it is told all that there is.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sdsr.web.lines import Message

TERMINAL = ("done", "failed", "canceled")
MOST_PENDING = 2000
"""Events that wait for a listener: some for each of the jobs that a client's list holds."""


@dataclass(slots=True, kw_only=True)
class Live:
    """How far a running job is. `previews`: those that stay, and the latest estimate."""

    share: float = 0.0
    step: int = 0
    steps: int | None = None
    windows: int | None = None
    previews: list[Message] = field(default_factory=list)

    def take(self, event: str, data: Message) -> None:
        """Note what an event changes."""
        match event:
            case "window":
                self.share = data["share"]
            case "planned":
                self.steps = data["steps"]
                self.windows = data["windows"]
            case "step":
                self.step = data["step"]
            case "preview":
                self.previews = [*(each for each in self.previews if each["final"]), data]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a job."""

    job: str
    name: str
    data: Message


@dataclass(slots=True, kw_only=True, eq=False)
class Listener:
    """One who listens to a job, or to all of a client."""

    job: str | None = None
    client: str | None = None
    pending: OrderedDict[tuple, Event] = field(default_factory=OrderedDict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    gone: bool = False

    def hear(self, event: Event) -> None:
        """Take an event; it replaces an older one of its kind that wasn't taken away yet."""
        if self.gone:
            return
        key = (event.job, event.name, event.data.get("region") and tuple(event.data["region"]))
        self.pending.pop(key, None)
        self.pending[key] = event
        if len(self.pending) > MOST_PENDING:
            self.pending.clear()
            self.gone = True
        self.wake.set()


class Hub:
    """Brings events to listeners, until it is closed."""

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self.closed = False

    def tell(self, event: Event, client: str) -> None:
        for listener in self.listeners:
            if event.job == listener.job or client == listener.client:
                listener.hear(event)

    def close(self) -> None:
        """Let all listeners go."""
        self.closed = True
        for listener in self.listeners:
            listener.wake.set()

    @contextmanager
    def listening(self, *, job: str | None = None, client: str | None = None) -> Iterator[Listener]:
        listener = Listener(job=job, client=client)
        self.listeners.add(listener)
        try:
            yield listener
        finally:
            self.listeners.discard(listener)

    async def events(self, listener: Listener) -> AsyncIterator[Event]:
        """Yield what a listener hears, as long as there is anything to hear and it takes it away."""
        while True:
            while listener.pending:
                yield listener.pending.popitem(last=False)[1]
            if self.closed or listener.gone:
                return
            listener.wake.clear()
            await listener.wake.wait()
