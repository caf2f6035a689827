"""Whether photos of one size cost less in one batch: processor time of four at once against four after another.

python bench/one_batch.py [SIDES ...]

Encodes, denoises and decodes by the default's networks in torch, on one thread, results of these sides (128, 256 and
512 px): medians of ratios, taken in turn, so that other work matters little. Graphs take one photo at a time.
"""

import sys
import time

import torch

from sdsr.models import DEFAULT_MODEL
from sdsr.upscaling import Upscaler

BATCH = 4
TIMES = 5


def main() -> None:
    torch.set_num_threads(1)
    prior = Upscaler.from_pretrained(DEFAULT_MODEL).restorer.prior
    tokens = torch.zeros(BATCH, 1, prior.unet.config["cross_attention_dim"] or 1)

    @torch.inference_mode()
    def restored_s(images: torch.Tensor) -> float:
        began = time.process_time()
        latent = prior.encode(images)
        prior.decode(prior.unet(latent, 499, encoder_hidden_states=tokens[: len(images)]).sample)
        return time.process_time() - began

    rng = torch.Generator().manual_seed(0)
    for side in map(int, sys.argv[1:] or ("128", "256", "512")):
        images = torch.rand(BATCH, 3, side, side, generator=rng)
        restored_s(images)  # the first one is slower than all others
        pairs = [(restored_s(images), sum(restored_s(image[None]) for image in images)) for _ in range(TIMES)]
        ratios = sorted(at_once / one_by_one for at_once, one_by_one in pairs)
        each_s = sorted(one_by_one / BATCH for _, one_by_one in pairs)[TIMES // 2]
        print(f"{side:>4} px: {ratios[TIMES // 2]:.2f} of {each_s:.3f} s a photo ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
