"""A diffusers UNet as a prior's backbone: what conditions it, by which ports."""

from dataclasses import dataclass

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from sdsr.prior.condition import Condition
from sdsr.tensors import Latent

_MAPS_ALIVE = 28
_MAPS_ALIVE_UNATTENDED = 10
"""Maps of the first level's width in float32 that a pass holds at once, if that level attends, and if it doesn't.

26 are counted of Stable Diffusion's UNet, 9 of the small one (bench/window_memory.py); the rest is for buffers of
kernels. What a method adds, and a second condition, `Restorer.facts` counts."""


@dataclass(frozen=True, slots=True)
class UNetBackbone:
    """Predicts by a UNet, which listens at all four ports of `Condition`."""

    network: UNet2DConditionModel
    name = "unet"

    def with_network(self, network: UNet2DConditionModel) -> "UNetBackbone":
        return UNetBackbone(network)

    @property
    def multiple(self) -> int:
        """Cells of which a latent's sides are multiples: each level has half of the last one's."""
        return 2 ** (len(self.network.config["block_out_channels"]) - 1)

    @property
    def bytes_per_cell(self) -> int:
        """Memory in use at once for each cell of a latent in float32, weights aside."""
        maps = _MAPS_ALIVE_UNATTENDED if self.bears_two else _MAPS_ALIVE
        return maps * 4 * self.network.config["block_out_channels"][0]

    @property
    def kernels(self) -> tuple[int, int]:
        """Those that join the first level with what comes from below, the largest on maps of all cells."""
        widths = self.network.config["block_out_channels"]
        first, second, *_ = (*widths, widths[-1])
        return first, first + second

    @property
    def bears_two(self) -> bool:
        """Whether two conditions may be one batch in float32: where the first level attends not, a pass is small."""
        return "Attn" not in self.network.config["down_block_types"][0]

    def predict(self, noisy: Latent, timestep: Tensor, condition: Condition) -> Latent:
        skips, bottleneck = condition.residuals or (None, None)
        with condition.at_hand():
            return self.network(
                noisy,
                timestep,
                encoder_hidden_states=condition.prompt.expand(len(noisy), -1, -1),
                cross_attention_kwargs=condition.attention,
                down_block_additional_residuals=skips,
                mid_block_additional_residual=bottleneck,
                return_dict=False,
            )[0]
