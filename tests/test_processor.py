"""The class of a processor, by its flags."""

import pytest

from sdsr.processor import class_of, processor_class

FLAGS = "avx2 avx512f avx512_bf16 amx_bf16"


@pytest.mark.parametrize(
    ("flags", "machine", "told", "name"),
    [
        (FLAGS, "x86_64", "", "AMX"),
        (FLAGS.replace(" amx_bf16", ""), "AMD64", "", "AVX-512-BF16"),
        ("avx2 avx512f", "x86_64", "", "AVX-512"),
        ("avx2 sse4_2", "x86_64", "", "AVX2"),
        (FLAGS, "x86_64", "avx2", "AVX2"),
        (FLAGS, "x86_64", "default", "x86_64"),
        ("asimd", "aarch64", "", "Arm"),
        ("", "arm64", "", "Arm"),
        ("sse2", "x86_64", "", "x86_64"),
        ("", "", "", "unknown"),
    ],
)
def test_the_best_that_a_processor_has_names_its_class(flags, machine, told, name):
    assert class_of(frozenset(flags.split()), machine, told) == name


def test_this_one_has_a_class():
    assert processor_class()
