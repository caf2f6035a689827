import json

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from sdsr.errors import InputError, ModelError
from sdsr.metrics import clip
from sdsr.metrics.anchors import score_anchors
from sdsr.metrics.benchmark import score
from sdsr.metrics.pairs import read_pixels
from sdsr.metrics.planes import values
from sdsr.metrics.protocol import PROTOCOLS
from sdsr.prior.loading import SMALL_PRIOR
from sdsr.prior.stable_diffusion import CLIP_MEAN, CLIP_STD

LENGTH = 16
END = 54


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A whole CLIP of random weights, towers and tokenizer, in transformers' layout."""
    folder = tmp_path_factory.mktemp("tiny-clip")
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": END - 1, "eos_token_id": END, "pad_token_id": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = CLIPConfig(
            text_config={**shape, **ends, "vocab_size": 64, "max_position_embeddings": LENGTH},
            vision_config={**shape, "image_size": 16, "patch_size": 8},
            projection_dim=12,
            initializer_factor=20.0,
        )
        CLIPModel(config).save_pretrained(folder)
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz")]
    words = ["!", *letters, "<|startoftext|>", "<|endoftext|>"]
    (folder / "v.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "m.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(
        str(folder / "v.json"), str(folder / "m.txt"), pad_token="!", model_max_length=LENGTH
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def reference(folder):
    """The same CLIP loaded whole by transformers: a photo's and a text's normalised embeddings."""
    model, tokenizer = CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder)
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (CLIP_MEAN, CLIP_STD))

    def embed(path=None, text="a"):
        image = torch.rand(1, 3, 16, 16)
        if path is not None:
            image = torch.from_numpy(values(read_pixels(path)) / 255).float().permute(2, 0, 1)[None]
            image = torch.nn.functional.interpolate(image, (16, 16), mode="bicubic")
        tokens = tokenizer(text, padding="max_length", max_length=LENGTH, return_tensors="pt")
        with torch.no_grad():
            seen = model(pixel_values=(image - mean) / std, **tokens)
        return seen.text_embeds[0] if path is None else seen.image_embeds[0]

    return embed


def photo(folders, kind, index=0):
    return sorted((folders / kind).iterdir())[index]


def test_clip_i_is_the_cosine_of_transformers_own_embeddings(folders, folder, reference):
    protocol = clip.with_clip(PROTOCOLS["rgb"], str(folder))
    assert protocol.name == "rgb+clip_i"
    assert str(folder) in protocol.description
    found = score(folders / "out", folders / "HR", protocol=protocol).values["clip_i"]
    expected = [
        float(reference(photo(folders, "out", index)) @ reference(photo(folders, "HR", index))) for index in range(3)
    ]
    assert found == pytest.approx(expected, abs=1e-5)
    assert max(found) < 0.9999
    itself = score(folders / "HR", folders / "HR", protocol=protocol).values["clip_i"]
    assert itself == pytest.approx(np.ones(3), abs=1e-5)


def test_the_gain_is_over_the_enlarged_lq_photos(folders, folder):
    protocol = clip.with_clip(PROTOCOLS["rgb"], str(folder))
    rows = {"out": score(folders / "out", folders / "HR", protocol=protocol)}
    beside = score_anchors(folders / "LR", folders / "HR", protocol)
    bicubic = beside["bicubic"]
    gained = clip.with_gain({**rows, **beside}, bicubic)
    expected = rows["out"].values["clip_i"] - bicubic.values["clip_i"]
    np.testing.assert_array_equal(gained["out"].values["delta_clip_i"], expected)
    assert expected.any()
    assert not gained["bicubic"].values["delta_clip_i"].any()
    assert gained["truth itself"].values["delta_clip_i"] == pytest.approx(1 - bicubic.values["clip_i"], abs=1e-5)
    assert [measure.name for measure in gained["out"].protocol.measures][-2:] == ["clip_i", "delta_clip_i"]
    photo(folders, "out").unlink()
    with pytest.raises(InputError, match="match the folders"):
        clip.with_gain({"out": score(folders / "out", folders / "HR", protocol=protocol)}, bicubic)


def test_the_embedded_encoder_says_that_it_is_none(folders):
    protocol = clip.with_clip(PROTOCOLS["rgb"], "small")
    assert protocol.name == "rgb+clip_i_small"
    assert "no CLIP" in protocol.description
    scores = score(folders / "out", folders / "HR", protocol=protocol)
    assert 0 < scores.values["clip_i_small"][0] < 1
    assert "delta_clip_i_small" in clip.with_gain({"out": scores}, scores)["out"].values


def test_the_encoder_of_a_small_prior_is_found_in_its_folder(folders):
    """It is told from a CLIP by its files, and the figures are those of the same prior by its name."""
    by_name, by_folder = (clip.with_clip(PROTOCOLS["rgb"], name) for name in ("small", str(SMALL_PRIOR)))
    assert str(SMALL_PRIOR) in by_folder.description
    one, other = (score(folders / "out", folders / "HR", protocol=protocol) for protocol in (by_name, by_folder))
    np.testing.assert_array_equal(one.values["clip_i_small"], other.values["clip_i_small"])


def test_the_tower_of_a_prior_is_found_in_its_folder(folder, tmp_path):
    (tmp_path / "image_encoder").symlink_to(folder)
    image = torch.rand(1, 3, 20, 24)
    found, expected = (clip._image_encoder(str(path))(image) for path in (tmp_path, folder))
    assert torch.equal(found, expected)


def test_photos_are_compared_with_texts(folders, folder, reference):
    photos = {kind: read_pixels(photo(folders, kind)) for kind in ("HR", "LR")}
    found = clip.similarities(photos, ["a bird", "a dog"], clip.load_clip(folder))
    for kind, cosines in found.items():
        expected = [float(reference(photo(folders, kind)) @ reference(text=text)) for text in ("a bird", "a dog")]
        assert cosines == pytest.approx(expected, abs=1e-5)
    assert abs(found["HR"][0] - found["HR"][1]) > 1e-3


def test_what_is_no_clip_is_refused(folders, folder, tmp_path):
    photos = {"HR": read_pixels(photo(folders, "HR"))}
    with pytest.raises(ModelError, match="neither 'small' nor a folder"):
        clip.with_clip(PROTOCOLS["rgb"], str(tmp_path))
    with pytest.raises(ModelError, match="can't be loaded"):
        clip.load_clip(tmp_path)
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).symlink_to(folder / file)
    with pytest.raises(ModelError, match="no tokenizer"):
        clip.load_clip(tmp_path)
    with pytest.raises(InputError, match="at most 16"):
        clip.similarities(photos, ["much too long a text"], clip.load_clip(folder))


def test_a_clip_that_is_no_folder_is_refused_without_asking_the_hub(tmp_path):
    with pytest.raises(ModelError, match="is no folder here"):
        clip.load_clip(tmp_path / "nowhere")
