import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdsr.errors import ModelError
from sdsr.prior.condition import Condition
from sdsr.prior.loading import load_prior
from sdsr.prior.small_autoencoder import SmallAutoencoder
from sdsr.prior.small_storage import (
    SmallParts,
    fresh_small_prior,
    load_small_prior,
    save_small_prior,
)
from sdsr.prior.tiny import tiny_prior

TIMES = torch.arange(1000)


@pytest.fixture
def folder(tmp_path):
    save_small_prior(tiny_prior(), tmp_path)
    return tmp_path


def replace(path, **tensors):
    save_file(load_file(path) | tensors, path)


def test_what_is_loaded_is_what_was_saved_up_to_half_precision(folder):
    prior, loaded = tiny_prior(), load_small_prior(folder)
    for name, tensor in loaded.modules.state_dict().items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, prior.modules.state_dict()[name], atol=1e-6, rtol=1e-3)
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(loaded.encode(image), prior.encode(image), atol=0.01, rtol=0.01)
    assert torch.equal(loaded.schedule.signal(TIMES), prior.schedule.signal(TIMES))
    assert loaded.native_px == prior.native_px
    assert not any(parameter.requires_grad for parameter in loaded.modules.parameters())
    assert not any(module.training for module in loaded.modules.modules())


def test_saving_again_changes_nothing(folder, tmp_path):
    loaded = load_small_prior(folder)
    assert save_small_prior(loaded, tmp_path / "again") == loaded.sha256
    assert (tmp_path / "again" / "config.json").read_bytes() == (folder / "config.json").read_bytes()


def test_in_eight_bits_it_is_half_as_large_and_saved_again_the_same(folder, tmp_path):
    prior = tiny_prior()
    save_small_prior(prior, tmp_path / "eight", bits=8)
    loaded = load_small_prior(tmp_path / "eight")
    sizes = [(each / "unet.safetensors").stat().st_size for each in (folder, tmp_path / "eight")]
    assert sizes[1] < 0.6 * sizes[0]
    assert save_small_prior(loaded, tmp_path / "again", bits=8) == loaded.sha256
    latent = torch.randn(1, 4, 8, 8)
    condition = Condition(prompt=prior.embed("clean"))
    expected, found = (each.predict(latent, 10, condition) for each in (prior, loaded))
    assert not torch.equal(found, expected)
    assert (found - expected).std() < 0.02 * expected.std()


def test_linear_paths_stay_in_half_precision(tmp_path):
    """Colors go through them, and graphs point there."""
    prior = fresh_small_prior(SmallAutoencoder(8, widths=(64, 64, 64), depths=(1, 1, 1)), widths=(32, 32))
    save_small_prior(prior, tmp_path, bits=8)
    stored = load_file(tmp_path / "autoencoder.safetensors")
    linear = {f"{part}.linear.weight" for part in ("encoder", "decoder")}
    assert {stored[name].dtype for name in linear} == {torch.float16}
    assert stored["decoder.at_half.0.first.weight"].dtype == torch.int8
    assert all(f"{name}_scale" in stored for name, tensor in stored.items() if tensor.dtype == torch.int8)


def test_sha256_changes_with_any_weight(folder):
    before = load_small_prior(folder).sha256
    replace(folder / "prompts.safetensors", null=torch.ones(1, 1, 128, dtype=torch.float16))
    assert load_small_prior(folder).sha256 != before


def test_statistics_of_latents_keep_full_precision(tmp_path):
    prior = tiny_prior()
    autoencoder = SmallParts.of(prior).autoencoder
    autoencoder.get_buffer("latent_mean").fill_(math.pi)
    save_small_prior(prior, tmp_path)
    loaded = SmallParts.of(load_small_prior(tmp_path)).autoencoder
    assert torch.equal(loaded.get_buffer("latent_mean"), autoencoder.get_buffer("latent_mean"))


def test_loading_touches_no_random_state(folder):
    before = torch.random.get_rng_state()
    load_small_prior(folder)
    assert torch.equal(before, torch.random.get_rng_state())


def test_fresh_prior_wraps_a_given_autoencoder_and_follows_its_seed():
    autoencoder = SmallAutoencoder(4, widths=(8, 8, 8), depths=(1, 1, 1))
    first, same, other = (fresh_small_prior(autoencoder, seed, widths=(32, 32)) for seed in (0, 0, 1))
    assert SmallParts.of(first).autoencoder is autoencoder
    assert first.sha256 == same.sha256 != other.sha256
    latent = torch.randn(1, 4, 8, 8)
    assert first.predict(latent, 10, Condition(prompt=first.embed(""))).shape == latent.shape


def test_folder_of_a_small_prior_is_loaded_by_its_path(folder):
    assert load_prior(folder, device="cpu", dtype=torch.float32).sha256 == load_small_prior(folder).sha256


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_an_error_that_names_file_and_tensor(folder, broken):
    replace(folder / "prompts.safetensors", null=torch.full((1, 1, 128), broken))
    with pytest.raises(ModelError, match=r"prompts\.safetensors\) hold NaN or infinite values in null; download"):
        load_small_prior(folder)


def test_missing_unknown_and_misshapen_tensors_are_named(folder):
    path = folder / "prompts.safetensors"
    tensors = load_file(path)
    save_file({"table": tensors["table"][:1].clone(), "nul": tensors["null"]}, path)
    with pytest.raises(
        ModelError, match=r"null is missing, nul is unknown, table is \(1, 4, 128\) instead of \(3, 4, 128\)"
    ):
        load_small_prior(folder)


def test_missing_truncated_and_newer_files_are_errors_with_a_remedy(folder):
    unet = folder / "unet.safetensors"
    unet.write_bytes(unet.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"unet\.safetensors\) can't be read .*download it again"):
        load_small_prior(folder)
    unet.unlink()
    with pytest.raises(ModelError, match=r"unet\.safetensors\) are missing"):
        load_small_prior(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": 99}))
    with pytest.raises(ModelError, match=r"format \(=99\).*must be 1; update sdsr"):
        load_small_prior(folder)
    (folder / "config.json").write_text(json.dumps(config | {"autoencoder_kind": "folded"}))
    with pytest.raises(ModelError, match=r"autoencoder_kind \(='folded'\) .*must be 'block transform'; update sdsr"):
        load_small_prior(folder)
    with pytest.raises(ModelError, match=r"has no config\.json"):
        load_small_prior(folder / "nowhere")


def test_a_prior_that_half_precision_cannot_hold_is_not_saved(tmp_path):
    prior = tiny_prior()
    SmallParts.of(prior).prompts.null.fill_(1e6)
    with pytest.raises(ModelError, match="infinite"):
        save_small_prior(prior, tmp_path)
