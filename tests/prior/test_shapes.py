"""Published architectures without weights: exact counts."""

from types import SimpleNamespace

import pytest
import torch

from sdsr.errors import InputError
from sdsr.prior.condition import Condition
from sdsr.prior.loading import load_prior
from sdsr.prior.shapes import SHAPES, CharacterText, shape_prior
from sdsr.prior.tiny import tiny_prior

PUBLISHED = {"unet": 865_910_724, "autoencoder": 83_653_863, "text_encoder": 340_387_840, "image_encoder": 632_076_800}


@pytest.mark.parametrize("name", SHAPES)
def test_the_parts_have_the_published_sizes(name: str) -> None:
    prior = shape_prior(name)
    assert prior.name == name
    assert prior.device.type == "meta"
    assert {part: sum(map(torch.numel, module.parameters())) for part, module in prior.modules.items()} == PUBLISHED
    assert not any(parameter.requires_grad for parameter in prior.modules.parameters())


def test_a_prior_on_meta_does_everything_but_compute() -> None:
    prior = shape_prior()
    latent = prior.encode(torch.empty(2, 3, 64, 128))
    condition = prior.embed(["a photo", ""])
    predicted = prior.predict(latent, 500, Condition(prompt=condition))
    assert condition.shape == (2, 77, 1024)
    assert latent.shape == predicted.shape == (2, 4, 8, 16)
    assert prior.decode(predicted).shape == (2, 3, 64, 128)
    assert prior.image is not None
    assert prior.image(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 1024)


def test_published_folders_have_no_image_encoder_and_a_shape_can_do_without() -> None:
    prior = shape_prior(image_encoder=False)
    assert prior.image is None
    assert set(prior.modules) == PUBLISHED.keys() - {"image_encoder"}


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(=sd-9\) must be one of sd-2\.1-base"):
        shape_prior("sd-9")


def test_prompts_are_told_apart_by_their_characters_up_to_the_model_s_length() -> None:
    class Tower(torch.nn.Module):
        """Returns what it is given; its weight says where it computes."""

        config = SimpleNamespace(max_position_embeddings=4)

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, ids: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(last_hidden_state=ids[..., None].float())

    text = CharacterText.__new__(CharacterText)
    object.__setattr__(text, "model", Tower())
    assert text(["ab", "ac", "abcdef"])[..., 0].tolist() == [[97, 98, 0, 0], [97, 99, 0, 0], [97, 98, 99, 100]]


def test_a_prior_that_is_given_is_loaded_as_it_is() -> None:
    prior = tiny_prior()
    assert load_prior(prior, device="cpu") is prior
