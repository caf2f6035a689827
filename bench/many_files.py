"""What a folder of many files costs before anything is restored: CPU time of listing, manifest, resume, telling; room.

python bench/many_files.py [FILES] [FOLDER]

Makes a tree of tiny files (FILES, 100,000 by default) with their results and a manifest that says that all are done,
and runs what `sdsr upscale` does with it, in a process of its own: no photo is restored, no model loaded. Telling is
what `--json` adds, a line a photo.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import NoReturn

from sdsr.batch.desk import Batch
from sdsr.batch.engine import process
from sdsr.batch.entries import Entry, Work
from sdsr.batch.items import Stamp
from sdsr.batch.journal import manifest_of
from sdsr.batch.model import Model
from sdsr.batch.settings import Settings, settings_sha256
from sdsr.batch.walking import Naming, plan
from sdsr.cli.upscale_report import report
from sdsr.digests import file_sha256

FILES = 100_000
FOLDERS = 200
MOST_US = 50
MOST_MIB = 300
_PIXEL = bytes.fromhex(  # PNG, 1 x 1
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cfc0000003"
    "0101003c0b0f9b0000000049454e44ae426082"
)


def make_tree(root: Path, files: int) -> None:
    """Make photos, results, and the manifest of a finished batch."""
    settings = settings_sha256(model(), Settings())
    entries: dict[str, Entry] = {}
    for number in range(files):
        name = f"{number % FOLDERS:03d}/{number:07d}.png"
        pair = root / "in" / name, root / "out" / name
        for path in pair:
            if number < FOLDERS:
                path.parent.mkdir(parents=True)
            path.write_bytes(_PIXEL)
    time.sleep(2.1)  # so that times tell
    digest = file_sha256(root / "in" / "000" / "0000000.png")
    for number in range(files):
        name = f"{number % FOLDERS:03d}/{number:07d}.png"
        work = Work(input_sha256=digest, settings_sha256=settings, input_mark=Stamp.of(root / "in" / name))
        entries[name] = Entry(
            work=work, output_sha256=digest, output_mark=Stamp.of(root / "out" / name), version=_version()
        )
    manifest_of(root / "out").adopt(entries)


def measure(root: Path) -> None:
    """Print, as JSON, what each step costs a file, and the memory that was held in the end."""
    costs: dict[str, float] = {}
    begun = time.process_time()
    tasks = plan([root / "in"], Naming(request=Settings().request), output=root / "out")
    costs["listing"] = time.process_time() - begun
    begun = time.process_time()
    manifest_of(root / "out")
    costs["manifest"] = time.process_time() - begun
    begun = time.process_time()
    done = 0
    for outcome in process(Batch(tasks=tasks, model=model(), settings=Settings())):
        done += outcome.status == "skipped"
    costs["resume"] = time.process_time() - begun - costs["manifest"]
    assert done == len(tasks), f"{done} of {len(tasks)} were found finished"
    begun = time.process_time()
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        report(Batch(tasks=tasks, model=model(), settings=Settings()), json=True, quiet=False)
    costs["telling"] = time.process_time() - begun - costs["resume"] - costs["manifest"]
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {"files": len(tasks), "memory_mib": memory_mib, "cpu_us": {k: v / done * 1e6 for k, v in costs.items()}}
        )
    )


def model() -> Model:
    """Return a model that nothing may load."""

    def load() -> NoReturn:
        raise AssertionError("nothing is to do")

    return Model(name="none", sha256="0" * 64, load=load)


def _version() -> str:
    from sdsr import __version__

    return __version__


def main() -> None:
    """Make the tree, measure in a new process, and say whether limits hold."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else FILES
    root = Path(tempfile.mkdtemp(dir=sys.argv[2] if len(sys.argv) > 2 else None))
    try:
        make_tree(root, files)
        called = [sys.executable, __file__, "--measure", str(root)]
        found = json.loads(subprocess.run(called, capture_output=True, text=True, check=True).stdout)
    finally:
        shutil.rmtree(root)
    for step, cost in found["cpu_us"].items():
        print(f"{step:<10}{cost:>8.1f} us of CPU a file")
    total = sum(cost for step, cost in found["cpu_us"].items() if step != "telling")
    print(f"{'together':<10}{total:>8.1f} us without telling (limit {MOST_US})")
    print(f"{'memory':<10}{found['memory_mib']:>8.0f} MiB for {found['files']} files (limit {MOST_MIB})")
    if total > MOST_US or found["memory_mib"] > MOST_MIB:
        sys.exit("above the limit")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]))
    else:
        main()
