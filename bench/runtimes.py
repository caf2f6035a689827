"""The embedded default's graphs in the runtimes that are here, beside ONNX Runtime's outputs of the same inputs.

python bench/runtimes.py [--web] [--side 128] [--json FILE]

OpenVINO runs where it is installed (extra `fast`); `--web` runs onnxruntime-web under node, which npm installs once, as
bench/web_runtime/package-lock.json says. Differences are in levels of 255, of latents as of pixels. Leaves with 1 where
one is above 1, or where what was asked for can't run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import sdsr
from sdsr.engines import SMALL_PRIOR
from sdsr.graphs.description import Description, read_graphs
from sdsr.graphs.runtimes import open_in
from sdsr.graphs.sessions import lay_out, open_graphs
from sdsr.models import DEFAULT_MODEL, find_model
from sdsr.photos.files import read_photo

Arrays = Mapping[str, np.ndarray]
Outputs = dict[str, np.ndarray]
WEB = Path(__file__).parent / "web_runtime"
LIMIT = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--web", action="store_true")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = find_model(DEFAULT_MODEL)
    description = read_graphs(found.folder)
    inputs, expected = referenced(found.folder, description, arguments.side)
    runtimes: dict[str, Callable[[Path, Description, Mapping[str, Arrays]], Outputs]] = {}
    if find_spec("openvino") is not None:
        runtimes["OpenVINO"] = in_openvino
    if arguments.web:
        runtimes["onnxruntime-web"] = in_node
    rows = []
    print("| runtime | graph | max | seconds, all |\n|---|---|---|---|")
    for runtime, run in runtimes.items():
        with tempfile.TemporaryDirectory() as folder:
            lay_out(found.folder, description, (SMALL_PRIOR,), Path(folder))
            began = time.perf_counter()
            outputs = run(Path(folder), description, inputs)
            seconds = time.perf_counter() - began
        for name in expected:
            most = 255 * float(np.abs(outputs[name] - expected[name]).max())
            rows.append({"runtime": runtime, "graph": name, "max": most, "seconds": seconds})
            print(f"| {runtime} | {name} | {most:.4f} | {seconds:.2f} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    sys.exit(any(not row["max"] <= LIMIT for row in rows))


def referenced(folder: Path, description: Description, side: int) -> tuple[dict[str, Arrays], Outputs]:
    """Return what each graph is given of a part of the sample photo, and what it makes of it in ONNX Runtime."""
    pixels = read_photo(Path(sdsr.__file__).parent / "assets" / "sample.jpg").pixels[:side, :side]
    image = np.ascontiguousarray(np.moveaxis(pixels, -1, 0)[None], np.float32) / 255
    graphs = open_graphs(folder, description, (SMALL_PRIOR,))
    latent = graphs["encode"](image=image)
    clean = graphs["denoise"](noisy=latent)
    given = {"latent": clean, "enlarged": image, "fidelity": np.array(description.fidelity, np.float32)}
    inputs: dict[str, Arrays] = {"encode": {"image": image}, "denoise": {"noisy": latent}}
    outputs = {"encode": latent, "denoise": clean}
    for decoding in sorted(graphs.keys() - inputs.keys()):
        inputs[decoding] = {name: given[name] for name in graphs[decoding].inputs}
        outputs[decoding] = graphs[decoding](**given)
    return inputs, outputs


def in_openvino(folder: Path, description: Description, inputs: Mapping[str, Arrays]) -> Outputs:
    """Return the graphs' outputs by OpenVINO, in float32."""
    graphs = open_in("openvino", folder, description, (), float32=True)
    return {name: graphs[name](**given) for name, given in inputs.items()}


def in_node(folder: Path, description: Description, inputs: Mapping[str, Arrays]) -> Outputs:
    """Return the graphs' outputs by the runtime that browsers have."""
    if not (WEB / "node_modules").is_dir():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=WEB, check=True)
    told: dict[str, dict[str, object]] = {}
    for name, arrays in inputs.items():
        told[name] = {}
        for key, array in arrays.items():
            file = f"{name}.{key}"
            array.astype("<f4").tofile(folder / file)
            told[name][key] = {"file": file, "dims": array.shape}
    (folder / "inputs.json").write_text(json.dumps({"weights": [*description.weights], "graphs": told}))
    subprocess.run(["node", str(WEB / "run.mjs"), str(folder)], check=True)
    dims = json.loads((folder / "outputs.json").read_text())
    return {name: np.fromfile(folder / f"{name}.output", "<f4").reshape(dims[name]) for name in inputs}


if __name__ == "__main__":
    main()
