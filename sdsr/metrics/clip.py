"""What CLIP sees in photos: the likeness of a result and its truth, what restoring gained, and closeness to texts.

CLIP-I of two photos is the cosine between their image embeddings. Delta-CLIP-I is CLIP-I(result, truth) less
CLIP-I(LQ enlarged by bicubic, truth): above 0, restoring brought the photo nearer to what the truth shows. This is our
reading of the figure of that name in arXiv:2410.13807. Deviation: photos are squashed to the tower's size without
antialiasing, as the priors' image encoders see them, where CLIP's own preprocessing filters and crops.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from sdsr.errors import InputError, ModelError
from sdsr.images.floats import levels_as_image
from sdsr.metrics.benchmark import Scores
from sdsr.metrics.planes import Pixels, Values, values
from sdsr.metrics.protocol import Measure, Protocol
from sdsr.photos.hostile import first_line
from sdsr.tensors import Float, Image

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SMALL = "small"
_COLUMN = "clip_i"
_SMALL_COLUMN = "clip_i_small"
_VOCABULARIES = ("tokenizer.json", "vocab.json")
_REMEDY = "give the folder of a CLIP in transformers' layout, its weights as safetensors."
Embedding = Float[Tensor, "1 d"]


def with_clip(protocol: Protocol, name: str) -> Protocol:
    """The protocol with CLIP-I added and named; ModelError where that CLIP can't be had.

    `name`: a folder that holds a CLIP (or its image tower, or a prior with one) in transformers' layout; or "small", or
    a small prior's folder, for its image encoder, whose column says so: it was trained on few photos and is no CLIP.
    """
    _image_encoder(name)
    small = _is_small(name)
    measure = Measure(
        name=_SMALL_COLUMN if small else _COLUMN,
        function=partial(_clip_i, name),
        plane="rgb",
        needs_truth=True,
        better="higher",
        decimals=4,
    )
    whose = "the embedded prior" if name == SMALL else f"the small prior in {name}"
    tower = f"the image encoder of {whose}, which is no CLIP" if small else f"the CLIP in {name}"
    return replace(
        protocol,
        name=f"{protocol.name}+{measure.name}",
        description=f"{protocol.description}; CLIP-I by {tower}",
        measures=(*protocol.measures, measure),
    )


def with_gain(rows: Mapping[str, Scores], enlarged: Scores) -> dict[str, Scores]:
    """The rows with Delta-CLIP-I added, photo by photo: their CLIP-I less that of `enlarged`, the LQ photos' scores.

    Raises InputError where a row holds other photos than `enlarged`.
    """
    return {label: _gained(label, scores, enlarged) for label, scores in rows.items()}


def gain_of(protocol: Protocol) -> Measure:
    """What `with_gain` adds to the measures of a protocol that has CLIP-I."""
    own = _likeness(protocol)
    return replace(own, name=f"delta_{own.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A whole CLIP (transformers' CLIPModel) and its tokenizer: photos and texts to embeddings that can be compared."""

    model: nn.Module
    tokenizer: "PreTrainedTokenizerBase"

    def of_photo(self, image: Image) -> Embedding:
        """The projected embedding of a photo."""
        from sdsr.prior.stable_diffusion import ClipImage

        return ClipImage(_ImageTower(self.model))(image)  # pyright: ignore[reportArgumentType]

    def of_text(self, text: str) -> Embedding:
        """The projected embedding of a text; InputError where it is longer than the text tower reads."""
        ids = self.tokenizer(text, return_tensors="pt").input_ids
        length = self.tokenizer.model_max_length
        if ids.shape[1] > length:
            raise InputError(f"text (={text!r}) has {ids.shape[1]} tokens, at most {length} are read; shorten it.")
        tower = self.model.get_submodule("text_model")
        return self.model.get_submodule("text_projection")(tower(ids).pooler_output)


def similarities(photos: Mapping[str, Pixels], texts: Sequence[str], clip: Clip) -> dict[str, tuple[float, ...]]:
    """The cosine of each photo's embedding with each text's, in their order (arXiv:2410.13807, Fig. 4)."""
    with torch.inference_mode():
        described = [clip.of_text(text) for text in texts]
        seen = {label: clip.of_photo(levels_as_image(values(pixels))) for label, pixels in photos.items()}
    return {label: tuple(_cosine(photo, text) for text in described) for label, photo in seen.items()}


def load_clip(folder: Path) -> Clip:
    """The frozen CLIP, both towers and the tokenizer, that lies in `folder` in transformers' layout; ModelError."""
    from transformers import CLIPTokenizer

    model = _load_towers(folder)
    if not any((folder / file).is_file() for file in _VOCABULARIES):  # transformers makes an empty one of nothing
        raise ModelError(f"CLIP (={folder}) has no tokenizer (none of {', '.join(_VOCABULARIES)}); {_REMEDY}")
    return Clip(model=model, tokenizer=CLIPTokenizer.from_pretrained(folder))


def _load_towers(folder: Path) -> nn.Module:
    from transformers import CLIPModel

    if not folder.is_dir():  # which transformers would take for a name of the hub, and ask for it again and again
        raise ModelError(f"CLIP (={folder}) is no folder here; {_REMEDY}")
    options = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True, "dtype": torch.float32}
    try:
        loaded = CLIPModel.from_pretrained(folder, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"CLIP (={folder}) can't be loaded ({first_line(error)}); {_REMEDY}") from error
    model, info = cast("tuple[nn.Module, dict[str, set[str]]]", loaded)
    if info["missing_keys"]:
        raise ModelError(f"CLIP (={folder}) lacks {min(info['missing_keys'])}; {_REMEDY}")
    return model.eval().requires_grad_(False)


class _ImageTower(nn.Module):
    """The image tower of a whole CLIP with the face of transformers' single tower."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.tower = whole.get_submodule("vision_model")
        self.projection = whole.get_submodule("visual_projection")
        self.config = self.tower.config

    def forward(self, pixels: Tensor) -> SimpleNamespace:
        return SimpleNamespace(image_embeds=self.projection(self.tower(pixels).pooler_output))


@cache
def _image_encoder(name: str) -> Callable[[Image], Tensor]:
    """A frozen function of an image to its embedding, in float32 on the CPU, so that figures don't depend on where."""
    from sdsr.prior.loading import load_prior
    from sdsr.prior.stable_diffusion import ClipImage, load_image_encoder

    if _is_small(name):
        encoder = load_prior(name, device="cpu", dtype=torch.float32).image
        assert encoder is not None, "a small prior has an image encoder"
        return encoder
    for folder in (Path(name), Path(name, "image_encoder")):
        if (folder / "config.json").is_file():
            whole = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type") == "clip"
            return (
                ClipImage(_ImageTower(_load_towers(folder)))  # pyright: ignore[reportArgumentType]
                if whole
                else load_image_encoder(folder)
            )
    raise ModelError(f"CLIP (={name}) is neither {SMALL!r} nor a folder with config.json; {_REMEDY}")


def _is_small(name: str) -> bool:
    from sdsr.prior.small_storage import is_small_prior

    return name == SMALL or is_small_prior(Path(name))


def _clip_i(name: str, result: Values, truth: Values) -> float:
    encode = _image_encoder(name)
    with torch.inference_mode():
        return _cosine(encode(levels_as_image(result)), encode(levels_as_image(truth)))


def _gained(label: str, scores: Scores, enlarged: Scores) -> Scores:
    if scores.names != enlarged.names:
        raise InputError(
            f"{label} (={len(scores.names)} photos) and the LQ photos must be the same; match the folders."
        )
    own = _likeness(scores.protocol)
    gain = gain_of(scores.protocol)
    return replace(
        scores,
        protocol=replace(scores.protocol, measures=(*scores.protocol.measures, gain)),
        values={**scores.values, gain.name: scores.values[own.name] - enlarged.values[own.name]},
    )


def _likeness(protocol: Protocol) -> Measure:
    return next(measure for measure in protocol.measures if measure.name in (_COLUMN, _SMALL_COLUMN))


def _cosine(one: Embedding, other: Embedding) -> float:
    return float(F.cosine_similarity(one, other))
