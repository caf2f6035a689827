"""Reports that `sdsr upscale --report` writes: a page beside each result, and one over a folder of results."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdsr.batch.restoring import Restored
from sdsr.batch.settings import Settings
from sdsr.batch.walking import Task
from sdsr.errors import InputError
from sdsr.photos.files import read_photo
from sdsr.photos.limits import NO_LIMITS
from sdsr.reports.beside import page_beside, report_result
from sdsr.reports.overview import write_overview
from sdsr.reports.page import write_report
from sdsr.reports.report import Examined


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """A page beside each result; of the file as it was written, with what its format made of it."""

    model: str
    settings: Settings

    def check(self, photo: tuple[int, int], result: tuple[int, int]) -> None:
        if result[0] < photo[0] or result[1] < photo[1]:
            raise InputError(
                f"result (={result[1]} x {result[0]} px) must be at least as large as its photo ({photo[1]} x "
                f"{photo[0]} px) for --report; choose a larger one, or leave --report out."
            )

    def is_there(self, task: Task) -> bool:
        page = page_beside(task.target)
        try:
            return page.is_file() and page.stat().st_mtime_ns >= task.target.stat().st_mtime_ns
        except OSError:
            return False

    def make(self, task: Task, restored: Restored | None) -> None:
        result = read_photo(task.target, NO_LIMITS)
        lq = read_photo(task.source, self.settings.limits) if restored is None else restored.lq
        examined = None
        if restored is not None and restored.spread is not None:
            examined = Examined(passes=self.settings.restorations, spread=restored.spread)
        request = self.settings.request
        plain = not (request.consistent or request.protect or request.mean_of > 1)
        first = restored.result if restored is not None and plain else None
        made = report_result(
            task.source.name,
            lq,
            result,
            model=self.model,
            kernel_width=request.kernel_width,
            first=first,
            examined=examined,
        )
        write_report(made, page_beside(task.target))

    def overviews(self, tasks: Sequence[Task]) -> list[Path]:
        """Write the page over each folder of results, and return those pages."""
        roots = dict.fromkeys(task.root for task in tasks if task.root is not None)
        return [page for root in roots if (page := write_overview(root)) is not None]

    def alone(self, tasks: Sequence[Task]) -> list[Path]:
        """Return the pages beside results of photos that were named one by one."""
        return [page_beside(task.target) for task in tasks if task.root is None and self.is_there(task)]
