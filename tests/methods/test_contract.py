"""The tests that each method of `METHODS` passes, on the tiny prior."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sdsr.checkpoints.weights import fill_restorer, save_method
from sdsr.diffusion.noise import CanvasNoise
from sdsr.errors import InputError, ModelError
from sdsr.method_folders import DESCRIPTION
from sdsr.methods import METHODS
from sdsr.methods.recipe import Recipe, Stage
from sdsr.methods.settings import with_settings
from sdsr.photos.photo import Photo
from sdsr.prior.loading import load_prior
from sdsr.prior.weight_files import module_sha256
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.restorer import latent_region
from sdsr.upscaling import Request
from tests.methods import contract
from tests.tensors import seeded

METHOD = pytest.mark.parametrize("recipe", [*map(contract.brief, METHODS.values())], ids=METHODS)
STAGES = dict(contract.stages())
TRAINED = dict(contract.distinct_stages())
STAGE = pytest.mark.parametrize("stage", TRAINED.values(), ids=TRAINED)
NAMED_STAGE = pytest.mark.parametrize(("name", "stage"), TRAINED.items(), ids=TRAINED)
SIZES = ((21, 30, 4), (21, 30, 2.5), (1, 1, 4), (17, 3, 2.5))


@METHOD
def test_photos_of_any_size_are_restored_to_the_exact_size(recipe: Recipe, photo):
    restorer = contract.shared(contract.built, recipe)
    for height, width, scale in SIZES:
        given = contract.small_photo(photo, height, width)
        pixels = contract.restored(recipe, restorer, given, Request(scale=scale))
        assert pixels.shape == (int(height * scale + 0.5), int(width * scale + 0.5), 3)


@METHOD
def test_the_same_seed_gives_the_same_picture(recipe: Recipe, photo):
    given = contract.small_photo(photo)
    first, second = contract.picture(contract.stirred, recipe, given), contract.stirred(recipe)
    assert np.array_equal(first, contract.restored(recipe, second, given))


@METHOD
def test_windows_do_not_change_the_noise(recipe: Recipe, photo, monkeypatch):
    drawn: dict[tuple, dict] = {}
    regions: list[set] = [set(), set()]
    at = CanvasNoise.at

    def noted(self, purpose, step, region, channels):
        noise = at(self, purpose, step, region, channels)
        regions[run].add(region)
        for row in range(-region.top % 4, region.height, 4):
            for column in range(-region.left % 4, region.width, 4):
                place = (purpose, step, region.top + row, region.left + column)
                drawn.setdefault(place, {}).setdefault(run, noise[0, :, row, column].tolist())
        return noise

    monkeypatch.setattr(CanvasNoise, "at", noted)
    restorer, given = contract.shared(contract.stirred, recipe), contract.small_photo(photo, 24, 36)
    whole = replace(recipe, canvas=replace(recipe.canvas, window_px=None))
    little = restorer.facts(recipe.restoring.own_plan).bytes_per_px * 70**2
    for each, memory in ((whole, None), (recipe, None if recipe.canvas.window_px else little)):
        run = 0 if each is whole else 1  # what `noted` reads
        contract.restored(each, restorer, given, Request(scale=4, memory_bytes=memory))
    shared = [draws for draws in drawn.values() if len(draws) == 2]
    assert len(shared) == len(drawn)
    assert all(draws[0] == draws[1] for draws in shared)
    assert len(regions[0]) == 1
    assert len(regions[1]) > 1


@METHOD
def test_saved_parts_give_the_same_picture(recipe: Recipe, photo, tmp_path):
    """The tensors, as before anything was restored, to the bit; pictures to a level: kernels differ with the layout."""
    given, restorer = contract.small_photo(photo), contract.stirred(recipe)
    own = {name: tensor.clone() for name, tensor in restorer.parts.modules.state_dict().items()}
    before = contract.restored(recipe, restorer, given).astype(int)
    save_method(restorer, tmp_path, recipe, {"steps": 12})
    filled = contract.filled(recipe, tmp_path)
    read = filled.parts.modules.state_dict()
    assert own.keys() == read.keys()
    assert [name for name in own if not torch.equal(own[name], read[name])] == []
    assert np.abs(contract.restored(recipe, filled, given) - before).max() <= 1
    assert np.abs(contract.picture(contract.built, recipe, given) - before).mean() > 0.3
    assert json.loads((tmp_path / DESCRIPTION).read_text())["steps"] == 12


@METHOD
def test_parts_of_another_prior_are_refused(recipe: Recipe, tmp_path):
    save_method(contract.shared(contract.built, recipe), tmp_path, recipe, {})
    description = json.loads((tmp_path / DESCRIPTION).read_text())
    (tmp_path / DESCRIPTION).write_text(json.dumps(description | {"prior_sha256": "0" * 64}))
    with pytest.raises(ModelError, match=rf"with sha256 000000000000, not on {contract.PRIOR} \(.*use that prior"):
        contract.filled(recipe, tmp_path)


@METHOD
def test_damaged_parts_are_refused_and_never_written(recipe: Recipe, tmp_path):
    restorer = contract.built(recipe)
    save_method(restorer, tmp_path, recipe, {})
    path = tmp_path / f"{next(iter(restorer.parts.modules))}.safetensors"
    sound = load_file(path)
    name = next(iter(sound))
    save_file(sound | {name: sound[name] + 0.5}, path)
    fresh = contract.built(recipe)
    with pytest.raises(ModelError, match="sha256 differs"):
        fill_restorer(fresh, tmp_path)
    save_file(sound | {name: torch.full_like(sound[name], float("nan"))}, path)
    with pytest.raises(ModelError, match="NaN"):
        fill_restorer(fresh, tmp_path)
    path.unlink()
    with pytest.raises(ModelError, match="missing"):
        fill_restorer(fresh, tmp_path)
    next(restorer.parts.modules.parameters()).data.fill_(float("nan"))
    with pytest.raises(ModelError, match="NaN"):
        save_method(restorer, tmp_path / "new", recipe, {})


@METHOD
def test_a_photo_is_restored_without_looking_at_its_neighbors(recipe: Recipe, photo):
    restorer, plan = contract.shared(contract.stirred, recipe), recipe.plan
    assert plan is not None
    photos = torch.cat([photo[..., :16, :24], photo[..., 40:56, 60:84]])

    def estimate(given: torch.Tensor, seeds: tuple[int, ...]) -> torch.Tensor:
        lq_image, noise = LqImage.of(given, (64, 96), 16), CanvasNoise(seeds=seeds)
        with torch.inference_mode():
            encoded = restorer.encode_lq(lq_image, None, noise)
            return restorer.denoise(
                restorer.start(encoded, plan.start_time, noise), plan.times[0], encoded, plan.guidance
            )

    both = estimate(photos, (1, 2))
    alone = torch.cat([estimate(photos[:1], (1,)), estimate(photos[1:], (2,))])
    torch.testing.assert_close(both, alone, atol=1e-4, rtol=1e-4)
    assert both.shape[-2:] == (latent_region(LqImage.of(photos, (64, 96), 16).region, 8).height, 12)


@METHOD
def test_the_prior_is_left_as_it_was(recipe: Recipe, photo):
    before = module_sha256(load_prior(contract.PRIOR).modules)
    restorer = contract.stirred(recipe)
    contract.restored(recipe, restorer, contract.small_photo(photo))
    fresh = load_prior(contract.PRIOR)
    assert module_sha256(fresh.modules) == before
    assert restorer.prior.sha256 == fresh.sha256 == before
    assert module_sha256(restorer.prior.modules) == before


@METHOD
def test_extreme_photos_stay_finite(recipe: Recipe):
    restorer = contract.shared(contract.stirred, recipe)
    noise = np.random.default_rng(0).integers(0, 256, (13, 16, 3), dtype=np.uint8)
    for pixels in (np.zeros_like(noise), np.full_like(noise, 255), noise, noise // 128 * 255):
        given = Photo(pixels=pixels)
        assert contract.restored(recipe, restorer, given).shape == (52, 64, 3)  # NaN is an OutputError


@METHOD
def test_half_precision_is_close_to_full(recipe: Recipe, photo):
    given, restorer = contract.small_photo(photo), contract.built(recipe)
    full = contract.picture(contract.built, recipe, given).astype(float)
    restorer = replace(restorer, prior=restorer.prior.adapted(dtype=torch.bfloat16))
    half = contract.restored(recipe, restorer, given).astype(float)
    assert 0 < np.abs(half - full).mean() < 4


@METHOD
def test_a_recipe_is_a_value_that_prints_and_changes(recipe: Recipe):
    assert recipe.name in repr(recipe)
    assert repr(recipe) == repr(replace(recipe))
    changed = with_settings(recipe, {"method.own_plan.guidance": "2.5", "facts.prior": "tiny"})
    assert (changed.plan.guidance, changed.prior) == (2.5, "tiny")
    assert recipe.plan is not None
    assert recipe.plan.guidance != 2.5
    with pytest.raises(
        InputError, match=r"method\.own_plan\.guidanze\) has no 'guidanze' in Plan; did you mean 'guidance'\?"
    ):
        with_settings(recipe, {"method.own_plan.guidanze": "1"})


@NAMED_STAGE
def test_every_trained_parameter_gets_a_gradient_and_nothing_else_does(name: str, stage: Stage, photo):
    training_step, discriminator = contract.training(stage)
    sample = contract.fixed_sample(photo, stage)
    parameters = {
        f"{part}.{path}": p for part, m in training_step.trainable_modules.items() for path, p in m.named_parameters()
    }
    trained = {path: parameter for path, parameter in parameters.items() if parameter.requires_grad}
    kept = {path: parameter for path, parameter in parameters.items() if not parameter.requires_grad}
    assert trained
    assert kept.keys() == contract.kept(stage, parameters)
    optimizer = torch.optim.SGD(trained.values(), lr=0.1)
    reached: set[str] = set()
    for step in range(5):  # what begins at zero hides what lies behind it for a step or two, or more in a row of them
        training_step(sample, seeded(step), 1.0).loss.backward()
        reached |= {path for path, p in trained.items() if p.grad is not None and p.grad.any()}
        optimizer.step()
        optimizer.zero_grad()
        if reached == set(trained):
            break
    assert set(trained) - reached == set()
    others = [*kept.values(), *([] if discriminator is None else discriminator.parameters())]
    assert all(parameter.grad is None for parameter in others)
    own = {id(parameter) for parameter in trained.values()}
    restorer = getattr(training_step, "restorer", None)
    if restorer is not None:
        frozen = [p for p in restorer.prior.modules.parameters() if id(p) not in own]
        assert frozen
        assert not any(p.requires_grad or p.grad is not None for p in frozen)


@NAMED_STAGE
def test_a_few_steps_lower_the_loss_of_a_fixed_batch(name: str, stage: Stage, photo):
    training_step, _ = contract.training(replace(stage, discriminator=None))
    sample = contract.fixed_sample(photo, stage)
    parameters = [p for part in training_step.trainable_modules.values() for p in part.parameters() if p.requires_grad]
    optimizer, losses = torch.optim.Adam(parameters, lr=contract.rate(name, stage)), []
    for _ in range(10):
        outcome = training_step(sample, seeded(), 0.0)
        losses.append(float(outcome.loss.detach()))
        optimizer.zero_grad()
        outcome.loss.backward()
        optimizer.step()
    assert losses[-1] < 0.97 * losses[0]  # the least that any learns is 4 %; rounding moves that by 0.4 % at most
    assert sum(losses[5:]) < sum(losses[:5])


@STAGE
def test_figures_and_pictures_of_a_stage(stage: Stage, photo):
    training_step, _ = contract.training(replace(stage, discriminator=None))
    sample = contract.fixed_sample(photo, stage)
    with torch.no_grad():
        figures = training_step.measure(sample, seeded())
        columns = training_step.pictures(sample, seeded())
    assert figures
    assert all(np.isfinite(value) for value in figures.values())
    assert {len(column) for column in columns.values()} == {2}


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_settings_of_a_stage_change_by_name(stage: Stage):
    changed = with_settings(stage, {"optimizer.learning_rate": "1e-5", "steps": "7", "accumulate": "2"})
    assert (changed.optimizer.learning_rate, changed.steps, changed.accumulate) == (1e-5, 7, 2)
    with pytest.raises(InputError, match="did you mean 'learning_rate'"):
        with_settings(stage, {"optimizer.learningrate": "1"})
