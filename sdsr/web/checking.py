"""The reader from the server's side: uploads are decoded in a process of its own, one after another."""

import asyncio
from pathlib import Path

from sdsr.web.child import Child, ChildDiedError
from sdsr.web.lines import Message
from sdsr.web.problems import Problem, problem_named
from sdsr.web.settings import Settings


class Checking:
    """Asks the process that decodes."""

    def __init__(self, settings: Settings) -> None:
        limits = settings.limits
        self.child = Child("sdsr.web.reader", str(limits.max_file_bytes), str(limits.max_input_pixels))
        self.patience_s = settings.check_s
        self.lock = asyncio.Lock()

    async def start(self) -> None:
        async with self.lock:
            await self.child.start()

    async def stop(self) -> None:
        await self.child.kill()

    async def header(self, folder: Path) -> Message:
        """Return the header of the photo in a folder, whose pixels are kept there; raise Problem where it is none."""
        async with self.lock:
            await self.child.start()
            await self.child.send(folder=str(folder))
            try:
                answer = await asyncio.wait_for(self.child.receive(), self.patience_s)
            except TimeoutError:
                await self.child.kill()
                raise Problem(
                    422, "input", f"the photo took too long to decode (limit {self.patience_s:g} s); export it again."
                ) from None
            except ChildDiedError as death:
                raise Problem(
                    422, "input", f"the photo broke its decoder ({death}); export it again, as PNG or JPEG."
                ) from None
            except BaseException:
                await self.child.kill()  # whose answer would be taken for the next photo's
                raise
        if "error" in answer:
            raise problem_named(answer["error"], answer["message"])
        return answer["header"]
