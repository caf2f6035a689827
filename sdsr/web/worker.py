"""The process that restores: it holds the models, runs one job after another, and tells what happens.

`python -m sdsr.web.worker DEVICE MODEL` ("" for the best device); MODEL is loaded at once. It ends with its server.
A job lets a crop that is ordered meanwhile pass after the window that is at work, and stands still for it.
"""

import logging
import os
import queue
import sys
from collections import OrderedDict
from pathlib import Path
from threading import Lock, Thread

from sdsr.allocator import keep_little
from sdsr.engines import load_model
from sdsr.errors import CancelledError, ModelError, SdsrError
from sdsr.extras import told_of
from sdsr.job import Job
from sdsr.jobs import JobMaker
from sdsr.lean_imports import own_process
from sdsr.web.lines import Channel, Message
from sdsr.web.restoring import Order, restore

MOST_MODELS = 2
log = logging.getLogger(__name__)


class Models:
    """Models by name, the last few that were used."""

    def __init__(self, device: str | None) -> None:
        self.device = device
        self.loaded: OrderedDict[str, JobMaker] = OrderedDict()

    def get(self, name: str) -> JobMaker:
        """Return a model, loaded where it isn't; raise ModelError where torch is missing, which may have been here."""
        if name not in self.loaded:
            while len(self.loaded) >= MOST_MODELS:
                self.loaded.popitem(last=False)
            try:
                self.loaded[name] = load_model(name, device=self.device)
            except ModuleNotFoundError as error:
                told = told_of(error)
                if told is None:
                    raise
                raise ModelError(f"model (={name}) can't be loaded: {told}") from error
        self.loaded.move_to_end(name)
        return self.loaded[name]


class Current:
    """The jobs that were ordered, for the thread that may cancel them; a cancel that comes early waits for its job."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.jobs: dict[str, Job | None] = {}
        self.unwanted: set[str] = set()

    def order(self, id: str) -> None:
        """Note that a job is to come."""
        with self.lock:
            self.jobs[id] = None

    def begin(self, id: str, job: Job) -> None:
        """Note that a job runs, and cancel it where it isn't wanted any more."""
        with self.lock:
            self.jobs[id] = job
            if id in self.unwanted:
                job.cancel()

    def cancel(self, id: str) -> None:
        with self.lock:
            if id not in self.jobs:
                return
            self.unwanted.add(id)
            job = self.jobs[id]
            if job is not None:
                job.cancel()

    def end(self, id: str) -> None:
        with self.lock:
            self.jobs.pop(id, None)
            self.unwanted.discard(id)


class Bench:
    """Runs what is ordered, in the main thread, and tells how it ends."""

    def __init__(self, channel: Channel, models: Models) -> None:
        self.channel = channel
        self.models = models
        self.current = Current()
        self.orders: queue.Queue[Message] = queue.Queue()

    def listen(self) -> None:
        """Take messages; when there will be none, end the process, whatever it is doing."""
        for message in self.channel.messages():
            if message["do"] == "restore":
                self.current.order(message["id"])
                self.orders.put(message)
            else:
                self.current.cancel(message["id"])
        os._exit(0)

    def run(self, message: Message, *, inner: bool = False) -> None:
        """Run a job and tell its end; `inner`: while another one stands still for it, and without doing so itself."""
        id = message["id"]
        order = Order.of(message)
        try:
            outcome = restore(
                order,
                self.models.get(order.model),
                on_job=lambda job: self.current.begin(id, job),
                tell=lambda **event: self.channel.send(id=id, **event),
                pause=None if inner else self._let_pass,
            )
        except CancelledError:
            end: dict[str, object] = {"event": "canceled"}
        except SdsrError as error:
            end = {"event": "failed", "error": type(error).__name__, "message": _without(order, str(error))}
        except MemoryError:
            end = {"event": "failed", "error": "LimitError", "message": "memory ran out; enlarge less."}
        except Exception as error:
            log.exception("job failed")
            said = f"restoring failed ({type(error).__name__}); the service's log says why."
            end = {"event": "failed", "error": "Exception", "message": said}
        else:
            end = {"event": "done", "outcome": outcome}
        self.current.end(id)
        self.channel.send(id=id, **end)

    def _let_pass(self) -> None:
        """Run what was ordered meanwhile: the server orders nothing but a crop then."""
        if not self.orders.empty():  # nobody else takes any
            self.run(self.orders.get(), inner=True)


def main(arguments: list[str]) -> None:
    """Restore until the server is gone."""
    device, model = arguments
    logging.basicConfig(format="sdsr worker: %(levelname)s: %(message)s", level=logging.WARNING)
    bench = Bench(Channel(), Models(device or None))
    Thread(target=bench.listen, daemon=True).start()
    bench.models.get(model)
    bench.channel.send(event="ready")
    while True:
        bench.run(bench.orders.get())


def _without(order: Order, message: str) -> str:
    """Return a message that names no folder of this machine."""
    for folder in (order.folder, order.source.parent, Path.home(), Path(sys.prefix)):
        message = message.replace(f"{folder}{os.sep}", "").replace(str(folder), "a folder")
    return message


if __name__ == "__main__":
    own_process()
    keep_little()
    main(sys.argv[1:])
