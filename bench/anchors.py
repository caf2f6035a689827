"""The anchors of protocol realisr-y: `python bench/anchors.py REALSR`, a folder with LR and HR (128 and 512 px).

Prints the rows of bicubic enlargement, of the HR photos themselves, and of bicubic with an unsharp mask and film grain.
On the 100 pairs of RealSR as cropped by StableSR:

    bicubic  PSNR-Y 27.11  SSIM-Y 0.757  NIQE 8.99  GMSD 0.159  hf_busy 0.24  hf_flat 0.46  grid 1.18
    HR             80.00         1.000       6.12       0.000          1.00          1.00       1.13
    grain          27.08         0.741       6.41       0.153          0.35          1.90       1.05
"""

import argparse
from pathlib import Path

from sdsr.metrics.anchors import score_anchors
from sdsr.metrics.protocol import PROTOCOLS
from sdsr.metrics.report import markdown

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("realsr", type=Path)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    lq, truth = arguments.realsr / "LR", arguments.realsr / "HR"
    print(markdown(score_anchors(lq, truth, PROTOCOLS["realisr-y"], jobs=arguments.jobs)))
