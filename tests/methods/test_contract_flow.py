"""The contract's tests for a method of one step on a flow-matching prior, and its training in windows and without."""

from dataclasses import replace
from inspect import signature

import pytest
import torch

from sdsr.discriminators.sources import discriminator_unet
from sdsr.errors import InputError
from sdsr.losses.terms import Term, latent_l2
from sdsr.methods import METHODS
from sdsr.methods.settings import with_settings
from sdsr.prior.tiny_flow import tiny_flow_prior
from sdsr.prior.weight_files import module_sha256
from tests.methods import contract
from tests.methods import test_contract as checks
from tests.tensors import seeded

NAME = "d3sr-flow"
PRIOR = "tiny-flow"


_GENERATION = METHODS["d3sr"].stage("generation")
_TERMS = (Term(name="latent", weight=1.0, function=latent_l2), *_GENERATION.objective.terms)
STAGE = replace(_GENERATION, discriminator=None, objective=replace(_GENERATION.objective, terms=_TERMS, ea_dists=0.0))
D3SR = METHODS["d3sr"]
RECIPE = replace(D3SR, facts=replace(D3SR.facts, name=NAME, prior=PRIOR), stages=(STAGE,))
GIVEN = {"recipe": contract.brief(RECIPE), "stage": STAGE, "name": NAME}
TESTS = {name: check for name, check in vars(checks).items() if name.startswith("test_")}


@pytest.mark.parametrize("check", TESTS.values(), ids=TESTS)
def test_a_flow_prior_keeps_the_contract(check, request, monkeypatch):
    monkeypatch.setattr(contract, "PRIOR", PRIOR)
    monkeypatch.setattr(contract, "METHODS", {**METHODS, NAME: RECIPE})
    monkeypatch.setattr(contract, "RATES", {NAME: 1e-2})  # low-rank updates begin at zero
    needs = {
        name: GIVEN[name] if name in GIVEN else request.getfixturevalue(name) for name in signature(check).parameters
    }
    check(**needs)


def test_a_discriminator_that_does_not_know_its_latents_says_so():
    with pytest.raises(InputError, match=r"judges latents of 4 channels, and those of prior \(=tiny-flow\) have 16"):
        discriminator_unet(tiny_flow_prior(), "sdxl-base")
    assert with_settings(_GENERATION, {"discriminator": "none"}).discriminator is None


def test_the_frozen_networks_stay_as_they_were_while_it_learns(photo, monkeypatch):
    monkeypatch.setattr(contract, "PRIOR", PRIOR)
    before = module_sha256(tiny_flow_prior().modules["transformer"])
    training_step, _ = contract.training(STAGE)
    optimizer = torch.optim.Adam(
        [p for part in training_step.trainable_modules.values() for p in part.parameters()], lr=1e-2
    )
    training_step(contract.fixed_sample(photo, STAGE), seeded(), 1.0).loss.backward()
    optimizer.step()
    assert module_sha256(training_step.restorer.prior.modules["transformer"]) == before
