"""What loading a network takes of memory, by the dtype of its file and the one that it is to have: a process for each.

python bench/loading.py [--size half|full] [--json FILE]

A random UNet of Stable Diffusion 2's shape is written to a temporary folder and loaded as a prior's are; `half` has
half the widths: 223 million parameters instead of 866. "held" is what its tensors take. Of the memory that the process
has beyond what it began with, "own" is its alone, and "mapped" are pages of the file, which the system takes back where
it needs them. Leaves with 1 where more than a tenth beyond the held bytes is its own, or the file stays mapped.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.measuring import table, write_json

DTYPES = {"float32": None, "float16": "fp16"}
WANTED = ("float32", "bfloat16")
ALLOWED = 1.1
MIB = 2**20
HALF = {"block_out_channels": (160, 320, 640, 640), "attention_head_dim": (5, 10, 10, 10)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["half", "full"], default="half")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(loaded(Path(arguments.one[0]), arguments.one[1])))
        return
    rows = []
    for stored in DTYPES:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), stored, HALF if arguments.size == "half" else {})
            for wanted in WANTED:
                command = [sys.executable, __file__, "--one", folder, wanted]
                answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                rows.append({"file": stored, "wanted": wanted, **json.loads(answer.splitlines()[-1])})
    heads = ["file", "wanted", "held MiB", "own, most", "mapped, most", "own, after", "mapped, after", "s"]
    print(table(heads, [list(row.values()) for row in rows]))
    write_json(arguments.json, {"rows": rows})
    sys.exit(any(row["own"] > ALLOWED * row["held"] or row["mapped_after"] > row["held"] / 10 for row in rows))


def write(folder: Path, dtype: str, changed: dict[str, Any]) -> None:
    """Write a random UNet in diffusers' layout."""
    import torch
    from accelerate import init_empty_weights
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from bench.random_weights import randomize
    from sdsr.prior.shapes import UNET

    with init_empty_weights():
        unet = UNet2DConditionModel(**{**UNET, **changed})
    for parameter in unet.parameters():
        parameter.data = parameter.data.to(getattr(torch, dtype))
    randomize(unet, "cpu", torch.Generator().manual_seed(0))
    unet.save_pretrained(folder / "unet", variant=DTYPES[dtype])


def loaded(folder: Path, dtype: str) -> dict[str, float]:
    """Load it, and return MiB and seconds of processor time."""
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from sdsr.prior.stable_diffusion import load_network

    before = resident()
    most = dict(before)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.003):
            most.update({name: max(most[name], amount) for name, amount in resident().items()})

    watching = threading.Thread(target=watch)
    watching.start()
    began = time.process_time()
    network = load_network(UNet2DConditionModel, folder, "unet", getattr(torch, dtype))
    seconds = time.process_time() - began
    done.set()
    watching.join()
    after = resident()
    return {
        "held": sum(tensor.nbytes for tensor in network.state_dict().values()) / MIB,
        **{name: most[name] - before[name] for name in before},
        **{f"{name}_after": after[name] - before[name] for name in before},
        "seconds": seconds,
    }


def resident() -> dict[str, float]:
    """Return what Linux says of this process in MiB: memory of its own, and pages of files."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = {line.partition(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
    return {"own": found["RssAnon"], "mapped": found["RssFile"]}


if __name__ == "__main__":
    main()
