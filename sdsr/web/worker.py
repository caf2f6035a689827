"""The process that restores: it holds the models, runs one job after another, and tells what happens.

`python -m sdsr.web.worker DEVICE MODEL` ("" for the best device); MODEL is loaded at once. It ends with its server.
"""

import logging
import os
import queue
import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from sdsr.engines import load_model
from sdsr.errors import CancelledError, SdsrError
from sdsr.job import Job
from sdsr.jobs import JobMaker
from sdsr.method_folders import embedded_methods
from sdsr.web.abilities import abilities_of
from sdsr.web.lines import Channel
from sdsr.web.restoring import Order, restore

MOST_MODELS = 2
log = logging.getLogger(__name__)


class Models:
    """Models by name, the last few that were used."""

    def __init__(self, device: str | None) -> None:
        self.device = device
        self.loaded: OrderedDict[str, JobMaker] = OrderedDict()

    def get(self, name: str) -> JobMaker:
        """Return a model, loaded where it isn't."""
        if name not in self.loaded:
            while len(self.loaded) >= MOST_MODELS:
                self.loaded.popitem(last=False)
            self.loaded[name] = load_model(name, device=self.device)
        self.loaded.move_to_end(name)
        return self.loaded[name]


class Current:
    """The job that runs, for the thread that may cancel it; a cancel that comes early waits for its job."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.id: str | None = None
        self.job: Job | None = None
        self.unwanted: set[str] = set()

    def begin(self, id: str | None, job: Job | None = None) -> None:
        """Note which job runs, and cancel it where it isn't wanted any more."""
        with self.lock:
            self.id = id
            self.job = job
            if job is not None and id in self.unwanted:
                job.cancel()
            if id is None:
                self.unwanted.clear()

    def cancel(self, id: str) -> None:
        with self.lock:
            self.unwanted.add(id)
            if id == self.id and self.job is not None:
                self.job.cancel()


def main(arguments: list[str]) -> None:
    """Restore until the server is gone."""
    device, model = arguments
    logging.basicConfig(format="sdsr worker: %(levelname)s: %(message)s", level=logging.WARNING)
    channel = Channel()
    current = Current()
    orders: queue.Queue[Mapping[str, Any]] = queue.Queue()
    Thread(target=_listen, args=(channel, current, orders), daemon=True).start()
    models = Models(device or None)
    channel.send(event="models", models=[abilities_of(name) for name in embedded_methods()])
    models.get(model)
    channel.send(event="ready")
    while True:
        _run(orders.get(), models, current, channel)


def _listen(channel: Channel, current: Current, orders: queue.Queue) -> None:
    """Take messages; when there will be none, end the process, whatever it is doing."""
    for message in channel.messages():
        if message["do"] == "restore":
            orders.put(message)
        else:
            current.cancel(message["id"])
    os._exit(0)


def _run(message: Mapping[str, Any], models: Models, current: Current, channel: Channel) -> None:
    """Run one job and tell its end."""
    id = message["id"]
    order = Order.of(message)
    try:
        outcome = restore(
            order,
            models.get(order.model),
            on_job=lambda job: current.begin(id, job),
            tell=lambda **event: channel.send(id=id, **event),
        )
    except CancelledError:
        channel.send(id=id, event="canceled")
    except SdsrError as error:
        channel.send(id=id, event="failed", error=type(error).__name__, message=_without(order, str(error)))
    except MemoryError:
        channel.send(id=id, event="failed", error="LimitError", message="memory ran out; enlarge less.")
    except Exception as error:
        log.exception("job failed")
        said = f"restoring failed ({type(error).__name__}); the service's log says why."
        channel.send(id=id, event="failed", error="Exception", message=said)
    else:
        channel.send(id=id, event="done", outcome=outcome)
    finally:
        current.begin(None)


def _without(order: Order, message: str) -> str:
    """Return a message that names no folder of this machine."""
    for folder in (order.folder, order.source.parent, Path.home(), Path(sys.prefix)):
        message = message.replace(f"{folder}{os.sep}", "").replace(str(folder), "a folder")
    return message


if __name__ == "__main__":
    main(sys.argv[1:])
