"""A process that works for the server: started when needed, spoken to in lines of JSON, ended for good."""

import asyncio
import json
import sys
from contextlib import suppress

from sdsr.web.lines import Message

_LONGEST_LINE = 1 << 20


class ChildDiedError(Exception):
    """The process ended; it says how, in words."""


class Child:
    """One process running a module of this package."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.command = (sys.executable, "-m", module, *arguments)
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process, unless it runs."""
        if self.process is None or self.process.returncode is not None:
            pipe = asyncio.subprocess.PIPE
            self.process = await asyncio.create_subprocess_exec(
                *self.command, stdin=pipe, stdout=pipe, limit=_LONGEST_LINE, start_new_session=True
            )

    async def send(self, **message: object) -> None:
        """Send a message; to one that is gone it is lost, which `receive` tells."""
        if self.process is not None and self.process.stdin is not None:
            with suppress(ConnectionError):
                self.process.stdin.write(json.dumps(message).encode() + b"\n")
                await self.process.stdin.drain()

    async def receive(self) -> Message:
        """Return the next message; raise ChildDiedError where there will be none."""
        assert self.process is not None, "it was started"
        assert self.process.stdout is not None, "it has a pipe"
        try:
            line = await self.process.stdout.readline()
            if line:
                return json.loads(line)
        except ValueError:
            await self.kill()
            raise ChildDiedError("it wrote what is no message") from None
        code = await self.process.wait()
        raise ChildDiedError(f"killed by signal {-code}" if code < 0 else f"ended with code {code}")

    async def kill(self) -> None:
        """End the process at once."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
