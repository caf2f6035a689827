"""Schemathesis: whatever fits the service's OpenAPI, or nearly does, gets an answer that is stated there.

`SCHEMA_SECONDS` says for how long it also guesses (`make soak`: 300).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.served import Served

pytestmark = pytest.mark.service
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance"
KNOWN = """
[[operations]]
include-path-regex = "^/v1/{kind}/"
include-method = "GET"
parameters = {{ id = "{id}" }}
"""
"""What lets it ask for things that are there."""


def test_no_request_gets_an_answer_that_is_not_stated(service: Served, tmp_path: Path) -> None:
    job = service.ended(service.submit(scale="1")["id"])
    known = KNOWN.format(kind="jobs", id=job["id"]) + KNOWN.format(kind="photos", id=job["photo"]["id"])
    (tmp_path / "schemathesis.toml").write_text(known)
    seconds = os.environ.get("SCHEMA_SECONDS")
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{service.url}openapi.json"]
    command += ["--url", service.url, "--checks", CHECKS, "--exclude-path-regex", "events$"]  # which don't end
    command += ["--no-color", "--request-timeout", "60", "--suppress-health-check", "all", "--seed", "1"]
    command += ["--max-time", seconds] if seconds else ["--phases", "examples,coverage"]
    environment = {name: value for name, value in service.environment.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
