"""What is counted: exact sizes of the published architectures, and multiply-accumulates against closed forms."""

import json
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from sdsr.adapters.first_level import first_level
from sdsr.cli.main import app
from sdsr.errors import InputError, ModelError
from sdsr.methods import METHODS
from sdsr.methods.facts import RecipeFacts
from sdsr.methods.recipe import Recipe
from sdsr.methods.stablesr.recipes import SMALL_METHOD
from sdsr.objectives.discriminator import Discriminator
from sdsr.prior.condition import Condition
from sdsr.prior.convolution import ConvolutionByProducts
from sdsr.prior.running import Choice, Decision, Running, as_usual, computing
from sdsr.prior.tiny import tiny_prior
from sdsr.request import Request
from sdsr.restoration.plan import Plan, Refinement
from sdsr.restoration.restorer import Parts, PromptedCondition, Restorer, from_photo
from sdsr.studies.complexity import PHASES, Complexity, Macs, complexity
from sdsr.tensors import Image
from sdsr.training.recipes import RECIPES

TERA = 1e12


class Mixer(nn.Module):
    """One linear layer of 128 to 128 on the prompt's tokens, then a product of the tokens with themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(128, 128), nn.LayerNorm(128, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.scale(self.layer(tokens)) @ tokens.mT @ tokens


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """A method that is nothing but what `mixed_restorer` makes, or what it is given."""

    own_plan: Plan = field(default_factory=lambda: Plan(times=(700, 500, 300), guidance=2.0))
    starts: tuple[int, ...] = ()
    built: Restorer | None = None

    def build(self, prior: object, device: object = None) -> Restorer:
        return self.built or mixed_restorer()

    def plan(self, request: Request, photo: Image | None = None) -> Plan:
        return self.own_plan


def mixed_restorer() -> Restorer:
    mixer = Mixer()

    def look(prior, photo, latent) -> PromptedCondition:
        photo.enlarged()
        return lambda prompt: Condition(prompt=mixer(prior.embed(prompt)))

    parts = Parts(
        conditioner=look,
        start=from_photo,
        modules=nn.ModuleDict({"mixer": mixer, "scale": mixer.scale, "idle": nn.Linear(2, 2)}),
        prompt="clean",
        negative_prompt="degraded",
    )
    return Restorer(prior=tiny_prior(), parts=parts)


@pytest.fixture(scope="module")
def mixed() -> Complexity:
    recipe = Recipe(
        facts=RecipeFacts(name="mixed", summary="", prior="tiny"),
        method=Mixed(),
    )
    return complexity(recipe, given_px=16)


def test_layers_and_attention_are_counted_apart_and_for_both_prompts(mixed: Complexity) -> None:
    mixer, tokens = mixed.parts[0], 5
    assert mixer.name == "mixer"
    assert mixer.encode_lq == Macs(layers=2 * tokens * 128 * 128, attention=2 * 2 * tokens * tokens * 128)
    assert mixer.one_pass == mixer.step == mixer.decode == Macs()


def test_an_image_takes_every_step_with_every_pass_of_guidance(mixed: Complexity) -> None:
    for part in mixed.parts:
        assert part.step == part.one_pass * 2
        assert part.image == part.encode_lq + part.step * 3 + part.decode
    unet = next(part for part in mixed.parts if part.name == "unet")
    assert unet.one_pass.layers > unet.one_pass.attention > 0
    assert unet.encode_lq == unet.decode == Macs()
    assert mixed.macs("image").total == sum(part.image.total for part in mixed.parts)


def test_a_look_back_is_decoded_and_told_of_between_steps(mixed: Complexity) -> None:
    plan = Plan(times=(700, 500, 300), guidance=2.0, refinement=Refinement(weight=0.5))
    recipe = Recipe(facts=RecipeFacts(name="mixed", summary="", prior="tiny"), method=Mixed(own_plan=plan))
    before, refined = ({part.name: part for part in each.parts} for each in (mixed, complexity(recipe, given_px=16)))
    assert refined["mixer"].image == before["mixer"].encode_lq * 3
    assert refined["autoencoder"].image == before["autoencoder"].image + before["autoencoder"].decode * 2
    assert refined["unet"].image == before["unet"].image


def test_a_shared_tensor_counts_once_for_the_smallest_part_and_idle_networks_of_the_prior_do_not(
    mixed: Complexity,
) -> None:
    sizes = {part.name: part.parameters for part in mixed.parts if part.added}
    assert sizes == {"mixer": 128 * 129, "scale": 128, "idle": 6}
    assert {part.name for part in mixed.parts if not part.added} == {"autoencoder", "unet", "prompts"}


def test_watching_leaves_no_hooks_behind() -> None:
    restorer = mixed_restorer()
    complexity(replace(METHODS["d3sr-small"], method=Mixed(built=restorer), stages=()), given_px=16)
    networks = (*restorer.prior.modules.modules(), *restorer.parts.modules.modules())
    assert not any(network._forward_hooks or network._forward_pre_hooks for network in networks)


def test_decoding_counts_the_feature_wrapping_and_encoding_the_photo_for_it() -> None:
    recipe, channels, growth, size_px = replace(METHODS["stablesr-small"], method=SMALL_METHOD, stages=()), 8, 8, 64
    assert recipe.plan is not None
    plain = recipe.with_plan(replace(recipe.plan, fidelity=0.0))
    fused, stock = (
        next(part for part in complexity(each, "tiny", given_px=size_px // 4).parts if part.name == "autoencoder")
        for each in (recipe, plain)
    )
    merge, out = (9 * 2 + 9 + 2) * channels**2, (9 + 9) * channels**2
    dense = sum(9 * (channels + place * growth) * growth for place in range(4)) + 9 * (channels + 4 * growth) * channels
    cells = (size_px // 2) ** 2 + (size_px // 4) ** 2
    assert fused.decode.layers - stock.decode.layers == cells * (merge + 3 * dense + out) + stock.encode_lq.layers
    assert fused.encode_lq == stock.encode_lq


@pytest.mark.slow
def test_consissr_at_full_size_is_what_its_authors_built() -> None:
    counted = complexity(METHODS["consissr"])
    parts = {part.name: part for part in counted.parts}
    positions, transposed, norms, linears = 1_724_416, 49_911_040, 24_960, 66_560
    assert parts["unet"].parameters == 865_910_724
    assert parts["hybrid"].parameters == positions + transposed + norms + linears
    assert parts["controlnet"].parameters == 364_228_384
    assert parts["control_hybrid"].parameters == 692_224 + 23_918_080 + 11_520 + 29_120
    assert parts["image_prompt"].parameters == 3_150_848
    assert parts["image_encoder"].parameters == 632_076_800
    assert parts["text_encoder"].parameters == 340_387_840
    assert parts["controlnet"].trained + parts["control_hybrid"].trained == 365_187_168
    assert parts["autoencoder"].parameters == 83_653_863
    assert parts["unet"].trained == parts["autoencoder"].trained == 0
    assert parts["hybrid"].trained == 51_726_976
    assert parts["image_encoder"].trained == 632_076_800  # in the first stage
    assert parts["unet"].one_pass.layers / TERA == pytest.approx(0.3658, abs=5e-5)
    assert parts["controlnet"].one_pass.layers / TERA == pytest.approx(0.1247, abs=5e-5)
    assert counted.macs("one_pass").attention / TERA == pytest.approx(0.088 + 0.002, abs=1e-3)
    assert counted.steps * 2 * counted.macs("one_pass").layers / TERA == pytest.approx(49.04, abs=5e-3)
    hints = 2 * counted.macs("one_pass").layers - counted.macs("step").layers
    assert hints / 1e9 == pytest.approx(8.894, abs=5e-3)  # which the authors' code makes anew in each pass
    assert parts["autoencoder"].decode.layers / 1e9 == pytest.approx(1240.1, abs=0.05)
    assert parts["autoencoder"].decode.total / 1e9 == pytest.approx(1257.3, abs=0.05)


def test_a_discriminator_without_its_weights_hides_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    def absent(_: Restorer) -> Discriminator:
        raise ModelError("weights (=eyes) were not found; run: ...")

    recipe = METHODS["d3sr-small"]
    stage = replace(recipe.stages[0], name="judged", discriminator=absent)
    found = complexity(replace(recipe, stages=(stage,)), "tiny", given_px=16)
    assert (found.discriminators, found.macs("image").total > 0) == ((), True)
    assert "judged is counted without its discriminator: weights (=eyes) were not found" in caplog.text


def test_what_restores_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="restores nothing"):
        complexity(RECIPES["small-prior"])


def test_the_command_prints_exact_integers_or_a_table() -> None:
    options = ["complexity", "d3sr-small", "--prior", "tiny", "--size", "16"]
    said = CliRunner().invoke(app, [*options, "--json"], catch_exceptions=False)
    facts = json.loads(said.stdout)
    unet = next(part for part in facts["parts"] if part["name"] == "unet")
    assert unet["added"]
    assert unet["parameters"] == unet["trained"] == sum(map(torch.numel, first_level(tiny_prior().unet).parameters()))
    assert set(PHASES) < set(facts["total"])
    assert facts["total"]["parameters"] == sum(part["parameters"] for part in facts["parts"])
    table = CliRunner().invoke(app, options, catch_exceptions=False).stdout
    assert f"{unet['parameters']:,}" in table
    assert "without attention" in table


def test_the_command_names_the_methods_there_are() -> None:
    with pytest.raises(InputError, match="d3sr-small"):
        CliRunner().invoke(app, ["complexity", "d4sr"], catch_exceptions=False)


def test_what_a_processor_takes_instead_is_not_counted() -> None:
    kernels = torch.ones(128, 128, 3, 3)

    def run() -> Tensor:
        return torch.conv2d(torch.ones(1, 128, 48, 48), kernels, padding=1)

    with torch.no_grad(), FlopCounterMode(display=False) as usual:
        run()
    mode = partial(ConvolutionByProducts, torch.float32)
    choice = Choice(usual="", otherwise="", mode=mode, rivals=lambda: (run, run), assumed=True)
    decision = Decision(choice=choice, taken=True, why="")
    taken = Running(dtype=torch.float32, layout=torch.contiguous_format, decisions=(decision,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sdsr.prior.running.running_on", lambda device: taken)
        as_decided = computing(torch.device("cpu"), torch.float32)
        with torch.no_grad(), FlopCounterMode(display=False) as counter, as_usual(), as_decided:
            run()
    assert counter.get_total_flops() == usual.get_total_flops()
