from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as pillow

import sdsr.methods
from sdsr import __version__
from sdsr.diffusion.steps import ancestral
from sdsr.errors import InputError
from sdsr.images.resize import resample
from sdsr.job import Preview
from sdsr.method_folders import read_description, weights_sha256
from sdsr.methods import METHODS
from sdsr.photos.files import read_photo
from sdsr.photos.photo import Photo, Traits
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import from_noise
from sdsr.restoration.window_sizes import least_window_px, window_size
from sdsr.upscaling import Request, Upscaler, as_photo

RECIPE = METHODS["d3sr-small"]


@pytest.fixture(scope="module")
def many_steps(upscaler: Upscaler) -> Upscaler:
    """Three ancestral steps from noise, so that the seed is felt and there is something to preview."""
    restorer = replace(upscaler.restorer, parts=replace(upscaler.restorer.parts, start=from_noise))
    return Upscaler(RECIPE.with_plan(Plan(times=(900, 500, 100), step=ancestral)), restorer)


def pixels(height: int, width: int, dtype: Any = np.uint8) -> np.ndarray:
    """A ramp of colors that uses the whole range."""
    rows, columns = np.mgrid[:height, :width]
    top = np.iinfo(dtype).max
    ramp = np.stack([rows / max(height - 1, 1), columns / max(width - 1, 1), (rows + columns) % 2], axis=-1)
    return (ramp * top).astype(dtype)


@pytest.mark.parametrize(
    ("width", "height", "wanted", "size"),
    [
        (20, 10, {}, (80, 40)),
        (20, 10, {"scale": 2.5}, (50, 25)),
        (33, 21, {"scale": 1.3}, (43, 27)),
        (20, 10, {"scale": 0.5}, (10, 5)),
        (1, 1, {"scale": 4}, (4, 4)),
        (1, 1, {"scale": 16}, (16, 16)),
        (20, 10, {"width": 55}, (55, 28)),
        (20, 10, {"height": 55}, (110, 55)),
        (20, 10, {"megapixels": 0.01}, (141, 71)),
        (500, 3, {"scale": 4}, (2000, 12)),
        (3, 500, {"scale": 4}, (12, 2000)),
    ],
)
def test_sizes_are_exact(upscaler, width, height, wanted, size):
    result = upscaler.upscale(Photo(pixels=pixels(height, width)), Request(**wanted))
    assert (result.size[1], result.size[0]) == size


def test_a_long_strip_of_two_thousand_pixels_keeps_its_size(upscaler):
    result = upscaler.upscale(Photo(pixels=pixels(3, 2000)), Request(scale=1))
    assert result.size == (3, 2000)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_bit_depth_and_traits_are_kept(upscaler, dtype):
    traits = Traits(bits=np.iinfo(dtype).bits, space="GRAY", dpi=(300.0, 300.0))
    gray = pixels(12, 16, dtype)[..., :1].repeat(3, axis=-1)
    result = upscaler.upscale(Photo(pixels=gray, traits=traits), Request(scale=2, label=False))
    assert result.pixels.dtype == dtype
    assert result.traits == traits
    assert result.traits.gray
    assert result.alpha is None
    assert len(np.unique(result.pixels % 256)) > 60 if dtype == np.uint16 else result.pixels.max() <= 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_is_enlarged_with_the_photo(upscaler, dtype):
    opaque = np.full((10, 14), np.iinfo(dtype).max, dtype)
    half = np.full_like(opaque, 77)
    shaped = opaque.copy()
    shaped[:, :7] = 0
    for alpha in (opaque, half):
        result = upscaler.upscale(Photo(pixels=pixels(10, 14, dtype), alpha=alpha), Request(scale=3))
        assert result.alpha is not None
        assert result.alpha.dtype == dtype
        assert (result.alpha == alpha[0, 0]).all()
        assert result.alpha.shape == (30, 42)
    result = upscaler.upscale(Photo(pixels=pixels(10, 14, dtype), alpha=shaped), Request(scale=3))
    expected = resample(torch.from_numpy(shaped.astype(np.float32) / np.iinfo(dtype).max)[None, None], (30, 42))
    assert result.alpha is not None
    np.testing.assert_allclose(result.alpha / np.iinfo(dtype).max, expected[0, 0].clamp(0, 1), atol=1 / 254)


def test_the_seed_decides_and_a_generator_is_one(many_steps):
    picture = pillow.fromarray(pixels(10, 14))

    def restored(**wanted: Any) -> np.ndarray:
        return np.asarray(many_steps(picture, scale=4, **wanted).images[0])

    assert np.array_equal(restored(), restored(seed=0))
    assert not np.array_equal(restored(), restored(seed=1))
    assert many_steps.maker.heeds_seed(many_steps.plan())
    first, again, other = (restored(generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_callback_is_called_after_every_step(many_steps):
    calls: list[tuple] = []

    def note(pipe: Upscaler, index: int, t: int, state: dict) -> dict:
        calls.append((pipe, index, t, tuple(state["latents"].shape)))
        return state

    many_steps(pillow.fromarray(pixels(10, 20)), scale=4, callback_on_step_end=note)  # 40 x 80, and 16 px around it
    assert calls == [(many_steps, index, t, (1, 4, 9, 14)) for index, t in enumerate((900, 500, 100))]


def test_previews_come_after_each_step_but_the_last_and_then_the_tiles(many_steps):
    previews = list(many_steps.job(Photo(pixels=pixels(10, 20)), Request(scale=4)).previews())
    assert [preview.final for preview in previews] == [False, False, True]
    for preview in previews:
        assert isinstance(preview, Preview)
        assert preview.image.shape == (1, 3, 40, 80)
        assert (preview.region.height, preview.region.width) == (40, 80)


def test_progress_rises_to_one_over_many_tiles(upscaler):
    heard: list[float] = []
    result = upscaler.upscale(Photo(pixels=pixels(4, 140)), Request(scale=16), on_progress=heard.append)
    assert result.size == (64, 2240)
    assert len(set(heard)) >= 3  # windows, and as many tiles
    assert heard == sorted(heard)
    assert heard[0] > 0
    assert heard[-1] == pytest.approx(1)


def test_outputs_of_each_type_hold_the_same_picture(upscaler):
    picture = pillow.fromarray(pixels(10, 14))
    pil, array, tensor = (upscaler(picture, output_type=kind).images for kind in ("pil", "np", "pt"))
    assert pil[0].mode == "RGB"
    assert array.shape == (1, 40, 56, 3)
    assert tensor.shape == (1, 3, 40, 56)
    assert np.array_equal(np.asarray(pil[0]), np.rint(array[0] * 255))
    assert np.array_equal(tensor[0].permute(1, 2, 0).numpy(), array[0])


def test_pictures_in_memory_become_photos():
    rgb = pixels(4, 6)
    assert np.array_equal(as_photo(pillow.fromarray(rgb)).pixels, rgb)
    assert np.array_equal(as_photo(rgb).pixels, rgb)
    assert as_photo(pixels(4, 6, np.uint16)).pixels.dtype == np.uint16
    transparent = as_photo(pillow.new("LA", (6, 4), (10, 50)))
    assert transparent.alpha is not None
    assert (transparent.pixels == 10).all()
    assert (transparent.alpha == 50).all()
    fine = torch.full((1, 3, 4, 6), 0.123456)
    assert as_photo(fine).pixels.dtype == np.uint16
    assert abs(as_photo(fine[0]).pixels / 65535 - 0.123456).max() < 1 / 65535


@pytest.mark.parametrize("wrong", ["photo.jpg", [np.zeros((4, 4, 3), np.uint8)], None])
def test_what_is_no_picture_is_an_error_that_says_so(wrong):
    with pytest.raises(
        InputError, match=rf"picture \(={type(wrong).__name__}\) must be one PIL image, array or tensor"
    ):
        as_photo(wrong)


def test_an_rgba_picture_comes_back_as_one(upscaler):
    result = upscaler(pillow.new("RGBA", (10, 6), (10, 20, 30, 90)), scale=2).images[0]
    assert (result.mode, result.size) == ("RGBA", (20, 12))
    assert (np.asarray(result)[..., 3] == 90).all()


def test_less_memory_means_smaller_windows(upscaler):
    canvas, facts = (512, 768), upscaler.restorer.prior.facts
    amounts = (None, facts.bytes_per_px * 400**2, facts.bytes_per_px * 200**2)
    assert [upscaler.maker.windowed(canvas, memory).window_px for memory in amounts] == [512, 384, 192]
    for memory in amounts:
        windowed = upscaler.maker.windowed(canvas, memory)
        assert windowed.window_px**2 * facts.bytes_per_px <= (memory or 10**12)
        assert windowed.window_px % facts.multiple_px == windowed.overlap_px % facts.multiple_px == 0
        assert (windowed.overlap_px == 0) == (windowed.window_px >= max(canvas))
    assert upscaler.maker.windowed((96, 128), None).window_px == 128


def test_windows_are_as_large_as_what_the_prior_was_trained_on_unless_the_method_has_its_own(upscaler):
    facts = upscaler.restorer.prior.facts
    for native, own, side in ((512, None, 512), (768, None, 768), (768, 512, 512), (512, 1024, 1024)):
        method = Canvas(window_px=own)
        assert window_size(method, (8192, 8192), facts=replace(facts, native_px=native)).window_px == side


def test_a_canvas_a_little_larger_than_a_window_is_one_if_any_size_will_do(upscaler):
    facts = replace(upscaler.restorer.prior.facts, native_px=512, multiple_px=16)

    def windows(method, canvas, memory=None):
        return window_size(method, canvas, facts=facts, memory_bytes=memory)

    assert windows(Canvas(), (576, 600)).window_px == 608
    assert windows(Canvas(), (576, 600)).overlap_px == 0
    assert windows(Canvas(), (576, 704)).window_px == 512
    assert windows(Canvas(), (576, 576), facts.bytes_per_px * 520**2).window_px == 512
    for trained in (Canvas(window_px=512), Canvas(native_px=512)):
        assert windows(trained, (576, 576)).window_px == 512


@pytest.mark.parametrize("multiple_px", [8, 16, 64])
def test_the_smallest_windows_are_allowed_what_they_are_said_to_need(upscaler, multiple_px):
    facts = replace(upscaler.restorer.prior.facts, multiple_px=multiple_px)
    least = least_window_px(Canvas(), facts)
    memory = facts.bytes_per_px * least**2
    assert window_size(Canvas(), (2048, 2048), facts=facts, memory_bytes=memory).window_px == least
    with pytest.raises(InputError, match="must be at least"):
        window_size(Canvas(), (2048, 2048), facts=facts, memory_bytes=memory - facts.bytes_per_px)


def test_too_little_memory_says_how_much_is_needed(upscaler):
    with pytest.raises(InputError, match=r"memory \(=0 MiB\) must be at least (\d+) MiB") as caught:
        upscaler.maker.windowed((512, 512), 1000)
    least = int(str(caught.value).split("at least ")[1].split()[0])
    assert upscaler.maker.windowed((512, 512), least * 2**20).window_px >= 64


def test_an_unknown_model_is_an_error_that_lists_what_there_is():
    with pytest.raises(InputError, match=r"model \(=d4sr\) must be one of .*d3sr-small.*, or a folder"):
        Upscaler.from_pretrained("d4sr")


def test_steps_that_the_method_does_not_offer_are_an_error(upscaler):
    assert upscaler.upscale(Photo(pixels=pixels(4, 4)), Request(steps=1)).size == (16, 16)
    with pytest.raises(InputError, match=r"steps \(=4\) of this method must be 1"):
        upscaler.upscale(Photo(pixels=pixels(4, 4)), Request(steps=4))


@pytest.mark.parametrize(
    ("keyword", "says"),
    [
        ("num_inference_steps", "it is called 'steps' here"),
        ("guidance_scale", "it is called 'fidelity' here"),
        ("strength", "it is called 'start' here"),
        ("negative_prompt", "it is the method's own, so leave it out"),
        ("colour_fix", "did you mean 'color_fix'"),
    ],
)
def test_a_keyword_that_is_no_field_is_told_what_it_is_called(upscaler, keyword, says):
    with pytest.raises(InputError, match=rf"keyword \(={keyword}\) must be one of scale, width, .*mean_of; {says}"):
        upscaler(pillow.new("RGB", (20, 10)), **{keyword: 3})


@pytest.mark.parametrize(
    "wanted", [{"scale": 17}, {"scale": 0}, {"scale": 2, "width": 100}, {"width": 9, "height": 90}]
)
def test_a_size_that_cannot_be_is_an_error(upscaler, wanted):
    with pytest.raises(InputError):
        upscaler.upscale(Photo(pixels=pixels(10, 20)), Request(**wanted))


def test_a_saved_method_restores_the_same_picture_once_loaded(upscaler, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sdsr.methods, "METHODS", {**METHODS, "d3sr-small": replace(RECIPE, facts=replace(RECIPE.facts, prior="tiny"))}
    )
    upscaler.save_pretrained(tmp_path)
    first, second = (Upscaler.from_pretrained(tmp_path, device="cpu") for _ in range(2))
    picture = pillow.fromarray(pixels(12, 18))
    one, two, original = (np.asarray(each(picture).images[0]).astype(int) for each in (first, second, upscaler))
    assert np.array_equal(one, two)
    assert np.abs(one - original).mean() < 2  # parts are kept in half precision
    assert not any(parameter.requires_grad for parameter in first.restorer.parts.modules.parameters())


def test_a_name_stays_the_embedded_method_where_a_folder_is_called_like_it(upscaler, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    upscaler.save_pretrained("d3sr-small")
    for folder in ("./d3sr-small", Path("d3sr-small")):
        assert Upscaler.from_pretrained(folder, device="cpu").restorer.prior.name == "tiny"
    assert not caplog.messages
    assert Upscaler.from_pretrained("d3sr-small", device="cpu").restorer.prior.name == "small"
    (said,) = caplog.messages
    assert "write ./d3sr-small" in said


def test_everything_moves_to_another_device():
    assert RECIPE.method is not None
    upscaler = Upscaler(RECIPE, RECIPE.method.build("tiny"))
    assert upscaler.to("meta") is upscaler
    elsewhere = upscaler.restorer
    places = {p.device.type for each in (elsewhere.prior, elsewhere.parts) for p in each.modules.parameters()}
    assert places == {elsewhere.prior.device.type} == {"meta"}


def test_a_prompt_that_a_method_does_not_hear_is_an_error(upscaler):
    with pytest.raises(InputError, match=r"prompt \(='a cat'\) means nothing to d3sr-small"):
        upscaler.upscale(Photo(pixels=pixels(4, 4)), Request(prompt="a cat"))


def test_a_result_says_what_was_done_unless_asked_not_to(upscaler):
    photo = Photo(pixels=pixels(6, 8), traits=Traits(dpi=(300.0, 300.0)), source_sha256="ab" * 32)
    labeled, other, bare = (
        upscaler.upscale(photo, request)
        for request in (Request(seed=7), Request(seed=7, memory_bytes=2_000 * 64**2), Request(label=False))
    )
    assert labeled.traits.xmp is not None
    for said in (
        "digitalsourcetype/compositeWithTrainedAlgorithmicMedia<",
        f":AISystemUsed>sdsr {RECIPE.name}<",
        f":AISystemVersionUsed>{__version__}<",
        f":model>{RECIPE.name}<",
        f":inputSha256>{'ab' * 32}<",
        ":width>32<",
        ":height>24<",
        ":seed>7<",
        f":times>{RECIPE.plan.times[0]}<",
        f":colorFix>{RECIPE.color_fix}<",
    ):
        assert said.encode() in labeled.traits.xmp
    assert other.traits == labeled.traits, "nothing in it depends on memory"
    assert replace(labeled.traits, xmp=None) == bare.traits == photo.traits
    assert labeled.source_sha256 is None, "a result is another picture than its file"


def test_a_result_restored_again_carries_both_steps(upscaler, many_steps):
    first = upscaler.upscale(Photo(pixels=pixels(6, 8)), Request(scale=2))
    second = many_steps.upscale(first, Request(scale=1, seed=5)).traits.xmp
    assert second.count(b":inputPixelsSha256>") == 4, "two elements"
    assert [step in second for step in (b":times>900 500 100<", b":seed>0<", b":seed>5<")] == [True] * 3
    assert first.traits.xmp.split(b"<sdsr:Steps>")[1].split(b"</rdf:Seq>")[0] in second


def test_a_pil_result_carries_its_label_into_the_file(upscaler, tmp_path):
    picture = pillow.fromarray(pixels(6, 8))
    picture.info["xmp"] = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a:b xmlns:a="urn:a">of the photo</a:b></x:xmpmeta>'
    for suffix in ("jpg", "png", "webp", "tif"):
        upscaler(picture, scale=2).images[0].save(tmp_path / f"a.{suffix}")
        xmp = read_photo(tmp_path / f"a.{suffix}").traits.xmp
        assert b">of the photo<" in xmp
        assert b":AISystemUsed>sdsr d3sr-small<" in xmp
        upscaler(picture, scale=2, label=False).images[0].save(tmp_path / f"b.{suffix}")
        assert b"AISystemUsed" not in read_photo(tmp_path / f"b.{suffix}").traits.xmp


def test_weights_are_named_by_their_files(upscaler, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sdsr.methods, "METHODS", {**METHODS, "d3sr-small": replace(RECIPE, facts=replace(RECIPE.facts, prior="tiny"))}
    )
    upscaler.save_pretrained(tmp_path / "one")
    upscaler.save_pretrained(tmp_path / "two")
    one, two = (Upscaler.from_pretrained(tmp_path / name, device="cpu") for name in ("one", "two"))
    assert one.weights_sha256 == two.weights_sha256
    xmp = one.upscale(Photo(pixels=pixels(6, 8)), Request(scale=1)).traits.xmp
    assert f":weightsSha256>{one.weights_sha256}<".encode() in xmp
    description = read_description(tmp_path / "one")
    for name in ("prior_sha256", "files", "base"):
        changed = {"prior_sha256": "0" * 64, "files": {"a": "0" * 64}, "base": {"files": {"a": "0" * 64}}}[name]
        assert weights_sha256(description | {name: changed}) != one.weights_sha256
