import pytest

from sdsr.methods.addsr.method import PROMPTS as ADDSR
from sdsr.methods.consissr.method import PROMPTS as CONSISSR
from sdsr.methods.invsr.method import PROMPTS as INVSR
from sdsr.methods.one_step.generator import HYPIR, OSEDIFF
from sdsr.methods.prompts import SMALL_PROMPTS, Prompts, prompts_of

TAGGED = (ADDSR["seesr"], ADDSR["addsr"], OSEDIFF.prompts)
UNTAGGED = (CONSISSR, INVSR, HYPIR.prompts, Prompts())


def test_constant_prompts_are_the_same_in_training_and_in_use():
    assert INVSR.training == INVSR.positive
    assert INVSR.positive.startswith("Cinematic, high-contrast, photo-realistic")
    assert "noisy,painting" in INVSR.negative


@pytest.mark.parametrize("own", [*TAGGED, *UNTAGGED])
def test_prompts_that_go_without_tags_are_said_to(own: Prompts, caplog):
    """The tagger's vocabulary is no part of its weights. A small prior's methods never had words."""
    assert prompts_of(own, ("clean", "degraded")) == SMALL_PROMPTS
    assert not caplog.records
    assert prompts_of(own, None) == own
    said = ["prompts go without the photo's tags as words; --prompt can say what is on it"] if own in TAGGED else []
    assert [record.getMessage() for record in caplog.records] == said
