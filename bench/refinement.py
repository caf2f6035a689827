"""What the share of its own result that AddSR looks at costs and gives: four steps at each share, in one table.

python bench/refinement.py LQ_FOLDER HR_FOLDER [--model NAME or FOLDER] [--photos N] [--shares 0 0.1 0.2 0.3 0.5]
"""

import argparse
from dataclasses import replace
from pathlib import Path

from sdsr.metrics import report
from sdsr.metrics.protocol import protocol
from sdsr.restoration.plan import Refinement
from sdsr.studies.comparison import Comparison, compare
from sdsr.studies.samples import paired_samples
from sdsr.upscaling import Upscaler


def main() -> None:
    arguments = _arguments()
    upscaler = Upscaler.from_pretrained(arguments.model)
    own = upscaler.plan()
    samples = paired_samples(arguments.lq, arguments.hr, arguments.photos)
    plans = {
        f"{share:g}": replace(own, refinement=Refinement(weight=share) if share else None) for share in arguments.shares
    }
    print(report.markdown(compare(upscaler, plans, Comparison(samples=samples, protocol=protocol("realisr-y")))))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lq", type=Path)
    parser.add_argument("hr", type=Path)
    parser.add_argument("--model", default="addsr-small")
    parser.add_argument("--photos", type=int)
    parser.add_argument("--shares", type=float, nargs="+", default=(0.0, 0.1, 0.2, 0.3, 0.5))
    return parser.parse_args()


if __name__ == "__main__":
    main()
