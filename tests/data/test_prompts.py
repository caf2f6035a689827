from sdsr.data.degradation import degradation_names
from sdsr.data.prompts import PROMPTS


def test_every_method_has_prompts():
    assert {"consissr", "stablesr", "addsr", "seesr", "invsr", "d3sr"} <= PROMPTS.keys() & set(degradation_names())


def test_constant_prompts_are_the_same_in_training_and_in_use():
    assert PROMPTS["invsr"].training == PROMPTS["invsr"].positive
    assert PROMPTS["invsr"].positive.startswith("Cinematic, high-contrast, photo-realistic")
    assert "noisy,painting" in PROMPTS["invsr"].negative
