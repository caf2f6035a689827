"""What a start costs: whole processes, and a restoration by the runtimes that are here beside a compact network.

python bench/start_up.py [--repeats 5] [--cold] [--json FILE]

Rows take turns; threads are those of `sdsr`'s commands in all of them. Processor time is a process's own and its
children's; wall time counts what else this machine did, too.
`--cold` makes the system forget Python's files before each process; wall time then has the disk in it. The compact
network (extra `export` writes it) has 64 channels, 32 convolutions and 1.2 M parameters, and enlarges by 4.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import sdsr
from sdsr.cli.processors import share_processors
from sdsr.engines import load_model
from sdsr.graphs.runtimes import in_bfloat16
from sdsr.graphs.sessions import threads
from sdsr.photos.files import read_photo
from sdsr.processor import processor_class, processor_name
from sdsr.quiet_runtimes import import_onnx_runtime

SAMPLE = Path(sdsr.__file__).parent / "assets" / "sample.jpg"
SIDE_PX = 128
CHANNELS = 64
CONVOLUTIONS = 32
UNTIL_SAMPLING = """
import os
from sdsr import job
from sdsr.cli.main import main
job.trajectory = lambda *_, **__: os._exit(0)
try:
    main()
finally:
    os._exit(1)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(restorations(arguments.repeats)))
        return
    share_processors()
    with tempfile.TemporaryDirectory() as folder:
        rows = processes(prepared(Path(folder)), arguments.repeats, cold=arguments.cold)
    alone = subprocess.run(
        [sys.executable, __file__, "--alone", "--repeats", str(arguments.repeats)], check=True, stdout=subprocess.PIPE
    )
    told = {"processor": processor(), "cold": arguments.cold, "rows": rows | json.loads(alone.stdout)}
    if arguments.json:
        arguments.json.write_text(json.dumps(told, indent=2) + "\n")
    print(table(told))


def prepared(folder: Path) -> dict[str, list[str]]:
    """Return the commands to time, by name; the folder gets a photo of 128 px, and one that is finished."""
    from PIL import Image as pillow

    with pillow.open(SAMPLE) as sample:
        photo = sample.resize((SIDE_PX, SIDE_PX))
    photo.save(folder / "photo.png")
    (folder / "done").mkdir()
    photo.save(folder / "done" / "photo.png")
    sdsr_ = [sys.executable, "-m", "sdsr"]
    finish = [*sdsr_, "upscale", str(folder / "done"), "--output", str(folder / "finished"), "--quiet"]
    subprocess.run(finish, check=True)
    one = [str(folder / "photo.png"), "--output", str(folder / "out.png"), "--overwrite", "--quiet"]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import sdsr": [sys.executable, "-c", "import sdsr"],
        "sdsr --help": [*sdsr_, "--help"],
        "sdsr upscale, a finished folder": finish,
        "sdsr upscale, 128 -> 512": [*sdsr_, "upscale", *one, "--engine", "onnx"],
    }
    if find_spec("torch") is not None:
        commands["import torch"] = [sys.executable, "-c", "import torch"]
        by_torch = ["upscale", *one, "--model", "invsr-small"]
        commands["sdsr upscale --model invsr-small"] = [*sdsr_, *by_torch]
        commands["the same, until it samples"] = [sys.executable, "-c", UNTIL_SAMPLING, *by_torch]
    return commands


def processes(commands: Mapping[str, Sequence[str]], repeats: int, *, cold: bool) -> dict[str, dict[str, list[float]]]:
    """Return seconds (`cpu`, `wall`) of commands, in turn; the first round only warms up, unless it is to be cold."""
    rows: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "wall": []} for name in commands}
    for repeat in range(repeats + (not cold)):
        for name, command in commands.items():
            if cold:
                forget(read_files())
            cpu, wall = timed(command)
            if repeat or cold:
                rows[name]["cpu"].append(cpu)
                rows[name]["wall"].append(wall)
    return rows


def timed(command: Sequence[str]) -> tuple[float, float]:
    """Return a command's seconds of processor and wall time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def read_files() -> list[Path]:
    """Return the files that a start may read: of the library, of what it stands on, of Python."""
    roots = [Path(sdsr.__file__).parent, Path(np.__file__).parents[1], Path(json.__file__).parents[1]]
    return [path for root in roots for path in root.rglob("*") if path.is_file()]


def forget(paths: Iterable[Path]) -> None:
    """Let the system drop what it keeps of files in memory, where nothing maps them."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def restorations(repeats: int) -> dict[str, dict[str, list[float]]]:
    """Return seconds of a restoration, 128 -> 512, by the runtimes that are here, and of the compact network."""
    whole = read_photo(SAMPLE)
    photo = type(whole)(pixels=np.ascontiguousarray(whole.pixels[:SIDE_PX, :SIDE_PX]))
    runs: dict[str, Callable[[], object]] = {
        "restoration, ONNX Runtime": partial(load_model(engine="onnx").upscale, photo)
    }
    if find_spec("openvino") is not None:
        precision = "bfloat16" if in_bfloat16("openvino") else "float32"
        runs[f"restoration, OpenVINO in {precision}"] = partial(load_model(engine="openvino").upscale, photo)
    if find_spec("onnx") is not None:
        net = compact()
        image = np.moveaxis(photo.pixels, -1, 0)[None].astype(np.float32) / 255
        runs["compact network, 1.2 M, ONNX Runtime"] = lambda: net.run(None, {"image": image})
    rows: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "wall": []} for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            if repeat:
                rows[name]["cpu"].append(time.process_time() - cpu)
                rows[name]["wall"].append(time.perf_counter() - wall)
    return rows


def compact() -> Any:
    """Return a session of the compact network: convolutions with PReLU, pixels shuffled by 4, the photo added."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    widths = [3, *[CHANNELS] * (CONVOLUTIONS + 1), 3 * 16]
    nodes = []
    tensors = []
    last = "image"
    for index, (before, after) in enumerate(pairwise(widths)):
        weight = rng.standard_normal((after, before, 3, 3), np.float32) / (9 * before) ** 0.5
        tensors.append(numpy_helper.from_array(weight, f"weight{index}"))
        tensors.append(numpy_helper.from_array(np.zeros(after, np.float32), f"bias{index}"))
        inputs = [last, f"weight{index}", f"bias{index}"]
        nodes.append(helper.make_node("Conv", inputs, [f"conv{index}"], pads=[1, 1, 1, 1]))
        last = f"conv{index}"
        if index + 2 < len(widths):
            tensors.append(numpy_helper.from_array(np.full((after, 1, 1), 0.2, np.float32), f"slope{index}"))
            nodes.append(helper.make_node("PRelu", [last, f"slope{index}"], [f"act{index}"]))
            last = f"act{index}"
    tensors.append(numpy_helper.from_array(np.array([1, 1, 4, 4], np.float32), "scales"))
    nodes.append(helper.make_node("DepthToSpace", [last], ["shuffled"], blocksize=4, mode="CRD"))
    nodes.append(helper.make_node("Resize", ["image", "", "scales"], ["nearest"], mode="nearest"))
    nodes.append(helper.make_node("Add", ["shuffled", "nearest"], ["result"]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "h", "w"])
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, [1, 3, "H", "W"])
    graph = helper.make_graph(nodes, "compact", [image], [result], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnxruntime = import_onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def processor() -> str:
    """Return this machine's processor, its class, and how many threads compute."""
    return f"{processor_name()}, {processor_class()}, {threads() or os.cpu_count()} threads"


def table(told: Mapping[str, Any]) -> str:
    """Return medians, and their ratios to `python -c pass`, `import torch` and the compact network, for people."""
    rows = told["rows"]
    bases = [
        name for name in ("python -c pass", "import torch", "compact network, 1.2 M, ONNX Runtime") if name in rows
    ]
    heads = ["row", "CPU s", "wall s", *[f"CPU / {name.partition(',')[0]}" for name in bases]]
    lines = [f"{told['processor']}{', cold' if told['cold'] else ''}", "", f"| {' | '.join(heads)} |"]
    lines.append("|---" * len(heads) + "|")
    for name, times in rows.items():
        cpu, wall = (statistics.median(times[kind]) for kind in ("cpu", "wall"))
        ratios = [cpu / max(statistics.median(rows[base]["cpu"]), 1e-3) for base in bases]
        lines.append(f"| {' | '.join([name, f'{cpu:.2f}', f'{wall:.2f}', *[f'{ratio:.2f}' for ratio in ratios]])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
