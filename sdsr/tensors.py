"""Names that fix shape and range of the arrays passed between modules.

`Image` is RGB in [0, 1] everywhere; only a prior's encode/decode and the perceptual losses map it to [-1, 1].
`Latent` is already scaled by its prior; its channel count and downsampling factor belong to the prior.
`Time` counts as its noise schedule does; a plan's are whole numbers 0 ... 999.
`Region` is a rectangle on such an array's last two dimensions, in its own cells: pixels of an image, cells of a latent.

They are torch's tensors, or NumPy's arrays where a photo is restored without torch, which is not loaded here. `Array`
is what gives back the kind that it was given.

`Float` and the like are jaxtyping's where that is loaded before, as by the tests, which check them. Elsewhere they say
nothing: to load it takes 0.05 s of each start.
"""

import sys
from typing import TYPE_CHECKING, Any, TypeVar

from sdsr.region import Region as Region

if TYPE_CHECKING or sys.modules.get("jaxtyping"):
    from jaxtyping import Bool, Float, Float32, Float64, Int, Integer, Real, UInt, UInt8
else:

    class _Unchecked:
        def __class_getitem__(cls, _: object) -> object:
            return Any

    Bool = Float = Float32 = Float64 = Int = Integer = Real = UInt = UInt8 = _Unchecked

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Array = TypeVar("Array", np.ndarray, Tensor)
else:
    Tensor = Array = Any

Image = Float[Tensor, "b 3 height width"]
Plane = Float[Tensor, "b 1 height width"]
Latent = Float[Tensor, "b c h w"]
Tokens = Float[Tensor, "b n d"]
PhotoTokens = Float[Tensor, "photos photo_tokens photo_width"]  # beside prompts of another number and width
Time = Real[Tensor, " b"]
Times = int | float | Time  # one for the whole batch, or one for each item
