import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from sdsr.data.degradation import (
    Degradation,
    FinalSinc,
    Jpeg,
    Resize,
    Stage,
    degradation,
    degrade,
    lq_size,
    truth,
)
from sdsr.data.filters import filter2d, unsharp_mask
from sdsr.data.jpeg import jpeg
from sdsr.data.kernels import KINDS
from sdsr.data.noise import Noise
from sdsr.data.resizing import resized, scaled
from sdsr.errors import InputError

FOLDER = Path(__file__).parents[1] / "golden/realesrgan_kernels"
GOLDEN = load_file(FOLDER / "io.safetensors")
TABLES = json.loads((FOLDER / "degradation_tables.json").read_text())


def photos(count: int, size: int = 64) -> torch.Tensor:
    """Smooth shapes with some texture."""
    rng = torch.Generator().manual_seed(3)
    coarse = functional.interpolate(torch.rand(count, 3, 8, 8, generator=rng), size=(size, size), mode="bicubic")
    return (coarse + 0.1 * torch.rand(count, 3, size, size, generator=rng)).clamp(0, 1)


def flat(stage: Stage, mark: str) -> dict:
    """A stage in the names of the published configuration files."""
    blur = stage.blur
    return {
        f"resize_prob{mark}": stage.resize.chances,
        f"resize_range{mark}": stage.resize.factor,
        f"gaussian_noise_prob{mark}": stage.noise.gaussian,
        f"noise_range{mark}": stage.noise.sigma,
        f"poisson_scale_range{mark}": stage.noise.poisson_scale,
        f"gray_noise_prob{mark}": stage.noise.gray,
        f"jpeg_range{mark}": stage.jpeg.quality,
        f"kernel_list{mark}": KINDS,
        f"kernel_prob{mark}": blur.kinds,
        f"sinc_prob{mark}": blur.sinc,
        f"blur_sigma{mark}": blur.sigma,
        f"betag_range{mark}": blur.generalized_beta,
        f"betap_range{mark}": blur.plateau_beta,
    }


@pytest.mark.parametrize("name", TABLES)
def test_parameter_sets_are_the_published_ones(name):
    ours, table = degradation(name), TABLES[name]
    pipeline = table["pipeline"]
    published = table["degradation"] | table["kernels"]
    expected = flat(ours.first, "") | flat(ours.second, "2") | {"second_blur_prob": ours.second.blur.probability}
    expected |= {"final_sinc_prob": ours.final_sinc.probability}
    for key, value in expected.items():
        assert published[key] == (list(value) if isinstance(value, tuple) else value), key
    unread = {"no_degradation_prob", "blur_kernel_size", "blur_kernel_size2", "second_order_prob"}
    assert published.keys() - expected.keys() <= unread
    assert ours.second.probability == published.get("second_order_prob", 1.0)
    assert (ours.first.probability, ours.first.blur.probability) == (1.0, 1.0)
    assert list(ours.first.blur.sizes) == pipeline["kernel_sizes_first"]
    assert list(ours.second.blur.sizes) == pipeline["kernel_sizes_second"]
    assert list(ours.final_sinc.sizes) == pipeline["kernel_sizes_final_sinc"]
    assert list(ours.first.resize.modes) == list(ours.second.resize.modes) == pipeline["resize_modes"]
    assert ours.scale == pipeline.get("scale", 4)
    assert ours.sharpened_hq == pipeline.get("gt_usm", pipeline.get("gt_usm_net_stage", False))
    assert ours.rounded == pipeline.get("lq_rounded_to_8bit", True)
    replaced = pipeline.get("lr_replaced_by_gt_with_no_degradation_prob", False)
    assert ours.clean == (published["no_degradation_prob"] if replaced else 0)


def test_every_method_has_its_set_under_its_name():
    for method, name in {
        "consissr": "consissr_train_F_512",
        "stablesr": "stablesr_512",
        "addsr": "seesr_offline_pairs",
        "seesr": "seesr_offline_pairs",
        "invsr": "invsr_train",
        "d3sr": "osediff",
        "realesrgan": "real_esrgan_default_x4plus",
    }.items():
        assert degradation(method) == replace(degradation(name), name=method)


def test_unknown_name_is_an_error_with_the_nearest_one():
    with pytest.raises(InputError, match="try 'consissr'"):
        degradation("consisr")
    with pytest.raises(InputError, match="photo"):
        degradation("")


def noisy(image: torch.Tensor, noise: torch.Tensor, *sigma: float) -> torch.Tensor:
    return (image + noise * torch.tensor(sigma)[:, None, None, None] / 255).clamp(0, 1)


CHAIN = {
    "0_usm": unsharp_mask,
    "1_blur1": lambda image: filter2d(image, GOLDEN["kernel3.generalized_aniso"][None]),
    "2_resize_area_0p7": lambda image: scaled(image, 0.7, "area"),
    "3_gauss_sigma_8_14": lambda image: noisy(image, GOLDEN["chain.noise1"], 8.0, 14.0),
    "4_jpeg_q40_q75": lambda image: jpeg(image, torch.tensor([40.0, 75.0])),
    "5_blur2_kernel2_plateau_aniso": lambda image: filter2d(image, GOLDEN["kernel2.plateau_aniso"][None]),
    "6_resize_bicubic_to_17": lambda image: resized(image, (17, 17), "bicubic"),
    "7_gauss_sigma_3_6": lambda image: noisy(image, GOLDEN["chain.noise2"], 3.0, 6.0),
}


def test_each_link_of_the_fixed_chain_is_the_published_one():
    image = GOLDEN["image"]
    for name, step in CHAIN.items():
        published = GOLDEN[f"chain.{name}"]
        # one brightness coefficient of the JPEG is 4e-7 from a rounding tie: its 8x8 block may differ
        ties = 3 * 64 if "jpeg" in name else 0
        assert ((step(image) - published).abs() > 1e-5).sum() <= ties, name
        image = published


def test_fixed_chain_ends_in_the_published_photos():
    image = GOLDEN["image"]
    for step in CHAIN.values():
        image = step(image)

    def reduced(image):
        return filter2d(resized(image, (16, 16), "bilinear"), GOLDEN["sinc0"][None])

    def compressed(image):
        return jpeg(image.clamp(0, 1), torch.tensor([60.0, 90.0]))

    for last, published in (
        (compressed(reduced(image)), "chain.lq_order_resize_sinc_then_jpeg"),
        (reduced(compressed(image)), "chain.lq_order_jpeg_then_resize_sinc"),
    ):
        ours = (last.clamp(0, 1) * 255).round() / 255
        assert ((ours - GOLDEN[published]).abs() <= 1.01 / 255).float().mean() >= 0.99


@pytest.mark.parametrize("factor", [0.37, 0.7, 1.3])
@pytest.mark.parametrize("mode", ["area", "bilinear", "bicubic"])
def test_first_resize_samples_by_its_factor(mode, factor):
    image = GOLDEN["image"][:1, :, :40, :40]
    ours = scaled(image, factor, mode)
    published = GOLDEN[f"resize.{mode}_scale_factor_{str(factor).replace('.', 'p')}"]
    torch.testing.assert_close(ours, published, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["consissr", "stablesr", "invsr", "invsr_synthetic_test_set", "photo"])
def test_a_photo_depends_on_itself_and_its_seed_only(name):
    settings, hq, seeds = degradation(name), photos(6), (5, 6, 7, 2**62, 0, 5)
    together = degrade(hq, settings, seeds)
    alone = [degrade(hq[i : i + 1], settings, seeds[i : i + 1]) for i in range(6)]
    assert torch.equal(together, torch.cat(alone))
    assert torch.equal(together, degrade(hq, settings, seeds))
    assert len({photo.sum().item() for photo in degrade(hq[:1].expand(6, -1, -1, -1), settings, seeds)}) == 5


@pytest.mark.parametrize("name", json.loads(files("sdsr.data").joinpath("degradations.json").read_text()))
def test_lq_is_an_image_of_a_quarter_of_the_size(name):
    settings = degradation(name)
    hq = photos(3)[..., :48]
    lq = degrade(hq, settings, (1, 2, 3))
    assert lq.shape == (3, 3, 16, 12)
    assert lq.dtype == torch.float32
    assert lq.min() >= 0
    assert lq.max() <= 1
    assert torch.isfinite(lq).all()
    if settings.rounded:
        torch.testing.assert_close(lq * 255, (lq * 255).round(), atol=1e-4, rtol=0)
    coarse = [functional.adaptive_avg_pool2d(image, (4, 3)) for image in (lq, hq)]
    assert (coarse[0] - coarse[1]).abs().mean() < 0.1, "the photo can't be recognized"


def test_what_is_degraded_can_be_trained_on():
    weight = torch.ones((), requires_grad=True)
    lq = degrade(photos(2)[..., :16, :16], degradation("stablesr"), (0, 1))
    (weight * lq).sum().backward()
    assert weight.grad == lq.sum()


def test_smallest_photo():
    assert degrade(photos(1)[..., :4, :8], degradation("realesrgan"), (3,)).shape == (1, 3, 1, 2)


def test_milder_sets_lose_less():
    hq, seeds = photos(1, 128).expand(40, -1, -1, -1), range(40)

    def loss(name):
        lq = functional.interpolate(degrade(hq, degradation(name), seeds), size=(128, 128), mode="bicubic")
        return (lq - hq).square().mean().item()

    assert max(loss("invsr_synthetic_test_set"), loss("photo")) < 0.7 * loss("realesrgan")


def quiet(stage: Stage) -> Stage:
    """Nothing but resizing, by areas, to the same size."""
    return replace(
        stage,
        blur=replace(stage.blur, probability=0.0),
        resize=Resize(chances=(0.0, 0.0, 1.0), factor=(1.0, 1.0), modes=("area",)),
        noise=replace(stage.noise, probability=0.0),
        jpeg=replace(stage.jpeg, probability=0.0),
    )


@pytest.fixture
def silent() -> Degradation:
    """Nothing happens but the last resize."""
    plain = degradation("invsr")
    final = replace(plain.final_sinc, probability=0.0)
    return replace(plain, first=quiet(plain.first), second=quiet(plain.second), final_sinc=final, rounded=False)


def test_everything_can_be_switched_off(silent):
    hq = photos(2)
    expected = functional.interpolate(hq, size=(16, 16), mode="area")
    torch.testing.assert_close(degrade(hq, silent, (0, 1)), expected)
    unreached = replace(degradation("invsr").first, probability=0.0, jpeg=silent.first.jpeg)
    torch.testing.assert_close(degrade(hq, replace(silent, first=unreached), (0, 1)), expected)


def test_last_jpeg_comes_before_or_after_the_last_resize(silent):
    settings = replace(silent, second=replace(silent.second, jpeg=Jpeg(quality=(5.0, 5.0))))
    hq, quality = photos(1), torch.tensor([5.0])
    before = functional.interpolate(jpeg(hq, quality), size=(16, 16), mode="area")[0]
    after = jpeg(functional.interpolate(hq, size=(16, 16), mode="area"), quality)[0]
    once = replace(settings, second=replace(settings.second, probability=0.0))
    lq = degrade(hq.expand(60, -1, -1, -1), once, range(60))
    first = sum(bool(torch.allclose(photo, before, atol=1e-5)) for photo in lq)
    last = sum(bool(torch.allclose(photo, after, atol=1e-5)) for photo in lq)
    assert first + last == 60
    assert 18 <= first <= 42


def test_noise_of_the_first_stage_is_averaged_and_that_of_the_second_is_not(silent):
    noise = Noise(gaussian=1.0, sigma=(20.0, 20.0), poisson_scale=(1.0, 1.0), gray=0.0)
    hq = torch.full((4, 3, 128, 128), 0.5)
    for changed, sigma in (
        (replace(silent, first=replace(silent.first, noise=noise)), 20 / 4),
        (replace(silent, second=replace(silent.second, probability=1.0, noise=noise)), 20),
    ):
        assert degrade(hq, changed, range(4)).std().item() * 255 == pytest.approx(sigma, rel=0.03)


def test_first_blur_and_last_sinc_act(silent):
    hq = torch.zeros(1, 3, 64, 64)
    hq[..., 32:36, 32:36] = 1.0
    peak = degrade(hq, silent, (0,)).max()
    blur = replace(silent.first.blur, probability=1.0, sinc=0.0, sizes=(13,), sigma=(2.0, 2.0))
    assert degrade(hq, replace(silent, first=replace(silent.first, blur=blur)), (0,)).max() < 0.8 * peak
    sinc = replace(silent, final_sinc=FinalSinc(probability=1.0, sizes=(9,)))
    assert not torch.equal(degrade(hq, sinc, (0,)), degrade(hq, silent, (0,)))


def clean_sometimes(name: str) -> Degradation:
    return replace(degradation(name), clean=0.5)


def reduced_only(hq: torch.Tensor, settings: Degradation) -> list[bool]:
    """Which of some equal photos are their averages over areas, and nothing else was done to them."""
    small = functional.interpolate(hq[:1], size=lq_size(hq, settings), mode="area")[0]
    lq = degrade(hq, settings, range(len(hq)))
    return [bool(torch.allclose(photo, small, atol=1e-6)) for photo in lq]


def test_a_clean_photo_is_only_reduced():
    hq = photos(1).expand(60, -1, -1, -1)
    assert 18 <= sum(reduced_only(hq, clean_sometimes("stablesr"))) <= 42


def test_one_percent_of_stablesr_is_clean():
    hq = photos(1)[..., :16, :16].expand(800, -1, -1, -1)
    assert 2 <= sum(reduced_only(hq, degradation("stablesr"))) <= 18


def test_hq_is_sharpened_where_the_set_says_so():
    hq = GOLDEN["image"]
    assert truth(hq, degradation("consissr")) is hq
    torch.testing.assert_close(truth(hq, degradation("stablesr")), GOLDEN["chain.0_usm"], atol=1e-5, rtol=0)


def test_errors_say_what_to_do():
    settings = degradation("photo")
    with pytest.raises(InputError, match=r"50x64\) must be a multiple of 4"):
        degrade(photos(1)[..., :50], settings, (0,))
    with pytest.raises(InputError, match=r"seeds \(=1 of them\) must be one per photo \(=2\)"):
        degrade(photos(2), settings, (0,))
    with pytest.raises(InputError, match=r"seed \(=-1\) must be 0 or more"):
        degrade(photos(1), settings, (-1,))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
@pytest.mark.parametrize("name", ["realesrgan", "photo"])
def test_accelerator_agrees_with_the_processor(name):
    settings, hq = degradation(name), photos(8, 128)
    ours = degrade(hq.cuda(), settings, range(8))
    assert ours.is_cuda
    close = (ours.cpu() - degrade(hq, settings, range(8))).abs() <= 2.01 / 255
    assert close.float().mean() >= 0.97


@pytest.mark.parametrize("name", ["realesrgan", "stablesr"])
def test_autocast_changes_nothing(name):
    hq = photos(4)
    with torch.autocast("cpu", torch.bfloat16):
        lowered = degrade(hq, degradation(name), range(4))
    assert torch.equal(lowered, degrade(hq, degradation(name), range(4)))
