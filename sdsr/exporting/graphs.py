"""A trained one-step model exported as ONNX graphs: `encode`, `denoise` and `decode`, for pictures of any size.

Whoever restores by them needs neither torch nor this project; `sdsr/graphs/` does. Needs the extra `export`.
"""

import contextlib
import io
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import nn

from sdsr.checkpoints.weights import fill_restorer
from sdsr.digests import file_sha256
from sdsr.errors import InputError, ModelError
from sdsr.exporting.layout import suit_blocks
from sdsr.exporting.linking import link, stored_tensors, strip
from sdsr.exporting.modules import ExportedParts, parts_of
from sdsr.exporting.operators import OPERATORS
from sdsr.graphs.description import DESCRIPTION, DETAILED, NAMES, Description
from sdsr.method_folders import DESCRIPTION as METHOD_DESCRIPTION
from sdsr.methods.recipe import Recipe
from sdsr.models import ModelFolder
from sdsr.prior.loading import SMALL_PRIOR, load_prior
from sdsr.restoration.restorer import Restorer

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
_TRACED_CELLS = (12, 20)  # of no meaning, as sides are symbols; neither is a multiple of the other


def export_graphs(found: ModelFolder, folder: Path, *, prior: str | None = None, own: bool = False) -> Description:
    """Write a model's graphs into a folder, with its description and all weight files, and return what they are.

    `own`: what is written there will lie in the model's own folder, which has its weights already; those of the
    embedded prior are found in the package. Raises InputError for a method that can't be exported.
    """
    recipe = found.recipe()
    source = found.prior(recipe) if prior is None else prior
    loaded = load_prior(source, device="cpu", dtype=torch.float32)
    restorer = recipe.restoring.build(loaded)
    fill_restorer(restorer, found.folder)
    parts = parts_of(restorer, recipe.restoring.own_plan, recipe.name)
    prior_folder = SMALL_PRIOR if source == "small" else Path(str(source))
    files = _weight_files((found.folder, prior_folder))
    needed = write_graphs(parts, restorer, folder, list(files.values()))
    weights = {name: file_sha256(files[name]) for name in sorted(needed)}
    here = {found.folder.resolve(), SMALL_PRIOR.resolve()} if own else set()
    for name in sorted(needed if own else {*needed, *found.description["files"]}):
        if files[name].parent not in here:
            shutil.copyfile(files[name], folder / name)
    if not own:
        shutil.copyfile(found.folder / METHOD_DESCRIPTION, folder / METHOD_DESCRIPTION)
    description = _described(found, recipe, restorer, parts, folder, weights)
    (folder / DESCRIPTION).write_text(description.to_json(), encoding="utf-8")
    return description


def write_graphs(parts: ExportedParts, restorer: Restorer, folder: Path, weights: Sequence[Path]) -> set[str]:
    """Write the graphs, and return the names of the weight files that they point into."""
    onnx = _onnx()
    stored = [tensor for path in weights for tensor in stored_tensors(path)]
    needed = set()
    for name, module, arguments in _traced(parts, restorer):
        model = _exported(module, arguments)
        strip(model)
        suit_blocks(model)
        onnx.checker.check_model(model)
        needed |= link(model, stored)
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    return needed


def _onnx() -> ModuleType:
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter needs it, and would say so in many lines
    except ImportError as error:
        raise InputError(f"{error.name} is missing, which exports graphs; pip install 'sdsr[export]'.") from error
    return onnx


def _traced(parts: ExportedParts, restorer: Restorer) -> Iterator[tuple[str, nn.Module, Mapping[str, torch.Tensor]]]:
    """Yield each graph's name, its module and inputs by which it is traced."""
    height, width = _TRACED_CELLS
    latent = torch.zeros(1, restorer.channels, height, width)
    image = torch.zeros(1, 3, height * restorer.factor, width * restorer.factor)
    yield "encode", parts.encode, {"image": image}
    yield "denoise", parts.denoise, {"noisy": latent}
    guide = {"enlarged": image, "fidelity": torch.tensor(0.5)} if parts.guided else {}
    yield "decode", parts.decode, {"latent": latent, **guide}
    if parts.decode_detailed is not None:
        yield DETAILED, parts.decode_detailed, {"latent": latent, "enlarged": image}


def _exported(module: nn.Module, arguments: Mapping[str, torch.Tensor]) -> "ModelProto":
    """Return the graph, whose inputs have any height and width."""
    height = torch.export.Dim("height", min=2, max=4096)
    width = torch.export.Dim("width", min=2, max=4096)
    cells = {name: value.shape[-1] // _TRACED_CELLS[1] for name, value in arguments.items() if value.ndim}
    least = 2 if list(arguments) == ["noisy"] else 1  # a UNet halves its sides
    shapes = {
        name: {2: cells[name] * least * height, 3: cells[name] * least * width} if name in cells else None
        for name in arguments
    }
    module = module.eval().requires_grad_(False).to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            tuple(arguments.values()),
            dynamo=True,
            dynamic_shapes=tuple(shapes.values()),
            input_names=list(arguments),
            output_names=["output"],
            opset_version=OPSET,
            verbose=False,
            custom_translation_table=dict(OPERATORS),
        )
    assert program is not None, "an export that returns nothing wrote a file"
    return program.model_proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what torch's exporter says of itself and of libraries that aren't here."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


def _weight_files(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the weight files of folders by name; where two have one of a name, the first folder's."""
    files: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.resolve().glob("*.safetensors")):
            files.setdefault(path.name, path)
    return files


def _described(
    found: ModelFolder,
    recipe: Recipe,
    restorer: Restorer,
    parts: ExportedParts,
    folder: Path,
    weights: Mapping[str, str],
) -> Description:
    if recipe.method is None or recipe.listens:
        raise ModelError(f"recipe (={recipe.name}) listens to prompts, which a graph can't; restore with torch.")
    plan = recipe.restoring.own_plan
    return Description(
        model=recipe.name,
        weights_sha256=found.weights_sha256,
        graphs={name: file_sha256(folder / f"{name}.onnx") for name in (*NAMES, *([DETAILED] if parts.guided else []))},
        weights=dict(weights),
        facts=restorer.facts(),
        canvas=recipe.canvas,
        time=plan.times[0],
        fidelity=plan.fidelity,
        guided=parts.guided,
        color_fix=recipe.color_fix,
        adain_floor=recipe.adain_floor,
        encode_cells=parts.encode_cells,
        encode_margin=parts.encode_margin,
        decode_margin=parts.decode_margin,
    )
