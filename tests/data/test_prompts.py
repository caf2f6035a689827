import pytest

from sdsr.data.degradation import degradation_names
from sdsr.data.prompts import PROMPTS, prompts_of


def test_every_method_has_prompts():
    assert {"consissr", "stablesr", "addsr", "seesr", "invsr", "d3sr"} <= PROMPTS.keys() & set(degradation_names())


def test_constant_prompts_are_the_same_in_training_and_in_use():
    assert PROMPTS["invsr"].training == PROMPTS["invsr"].positive
    assert PROMPTS["invsr"].positive.startswith("Cinematic, high-contrast, photo-realistic")
    assert "noisy,painting" in PROMPTS["invsr"].negative


@pytest.mark.parametrize("method", sorted(PROMPTS))
def test_prompts_that_go_without_tags_are_said_to(method, caplog):
    """The tagger's vocabulary is no part of its weights. A small prior's methods never had words."""
    prompts_of(method, ("clean", "degraded"))
    assert not caplog.records
    prompts_of(method, None)
    assert [record.getMessage() for record in caplog.records] == (
        [f"{method}: prompts go without the photo's tags as words; --prompt can say what is on it"]
        if method in ("seesr", "addsr", "osediff")
        else []
    )
