"""Who may ask, and from where."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from sdsr.errors import InputError
from sdsr.web.sessions import Sessions
from sdsr.web.settings import Settings
from tests.served import SAMPLE, Served, problem

TOKEN = "a token of more than sixteen"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that wants a token."""
    served = Served(tmp_path_factory.mktemp("guarded") / "kept", "--allow-host", "photos.example", SDSR_TOKEN=TOKEN)
    yield served
    served.stop()
    assert TOKEN not in served.said


@pytest.fixture
def visitor(guarded: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, timeout=30) as client:
        yield client


def test_nothing_is_told_without_the_token(visitor: httpx.Client) -> None:
    for path in ("/v1/jobs", "/v1/events", "/v1/models", "/openapi.json", "/metrics", "/index.html", "/main.js"):
        answer = visitor.get(path)
        assert problem(answer)["status"] == 401
        assert "Bearer" in answer.headers["www-authenticate"]
    for wrong in (b"x", TOKEN.encode() + b"x", TOKEN[:-1].encode(), TOKEN.encode() + b"\xe9"):
        assert visitor.get("/v1/models", headers={b"Authorization": b"Bearer " + wrong}).status_code == 401
    assert visitor.get("/livez").status_code == 200


def test_a_body_is_not_read_before_the_token(guarded: Served) -> None:
    host, port = guarded.url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as upload:
        head = f"POST /v1/photos HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        upload.sendall(f"{head}Content-Length: 5000000\r\n\r\n".encode())
        assert upload.recv(100).startswith(b"HTTP/1.1 401 ")


def test_a_refusal_arrives_while_a_body_is_sent(visitor: httpx.Client) -> None:
    """A connection that is closed too early is reset, and the client never learns why."""
    for _ in range(5):
        answer = visitor.post("/v1/photos", files={"photo": ("a.png", bytes(4 << 20))})
        assert problem(answer)["status"] == 401


def test_a_program_sends_the_token_as_bearer(visitor: httpx.Client) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert visitor.get("/v1/models", headers=headers).status_code == 200
    assert visitor.post("/v1/photos", headers=headers, files={"photo": ("a", SAMPLE.read_bytes())}).status_code == 201


def test_the_page_logs_in_and_gets_a_cookie(visitor: httpx.Client) -> None:
    first = visitor.get("/", headers={"Accept": "text/html"})
    assert first.headers["location"] == "/login"
    assert "<form" in visitor.get("/login").text
    assert visitor.post("/login", data={"token": "wrong"}).headers["location"] == "/login?wrong"
    assert visitor.get("/v1/jobs").status_code == 401
    answer = visitor.post("/login", data={"token": TOKEN})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert visitor.get("/v1/jobs").status_code == 200


def test_a_made_up_cookie_is_worth_nothing(visitor: httpx.Client) -> None:
    for value in ("x", "a.9999999999.00", "..", "a.9999999999." + "0" * 64):
        assert visitor.get("/v1/jobs", headers={"Cookie": f"sdsr={value}"}).status_code == 401


def test_a_cookie_ends_with_its_token_and_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions.of(tmp_path, TOKEN)
    cookie = sessions.mint()
    assert sessions.client(cookie)
    assert Sessions.of(tmp_path, TOKEN).client(cookie) == sessions.client(cookie)
    assert Sessions.of(tmp_path, TOKEN + "2").client(cookie) is None
    assert (tmp_path / "secret").stat().st_mode & 0o77 == 0
    monkeypatch.setattr("time.time", lambda: 1e10)
    assert sessions.client(cookie) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "evil.example:80@127.0.0.1"},
        {"Host": ""},
        {"Host": "[::1"},
    ],
)
def test_another_name_is_not_answered(visitor: httpx.Client, headers: dict) -> None:
    """DNS rebinding: a page elsewhere can let its own name point here, but no other."""
    answer = visitor.get("/livez", headers=headers)
    assert problem(answer)["status"] == 400


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:80", "photos.example", "Photos.Example:443"])
def test_its_own_names_are_answered(visitor: httpx.Client, host: str) -> None:
    assert visitor.get("/livez", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_can_change_nothing(visitor: httpx.Client, headers: dict) -> None:
    headers = headers | {"Authorization": f"Bearer {TOKEN}"}
    assert problem(visitor.post("/v1/photos", headers=headers))["status"] == 403
    assert problem(visitor.delete("/v1/jobs/x", headers=headers))["status"] == 403
    assert problem(visitor.post("/login", headers=headers, data={"token": TOKEN}))["status"] == 403


def test_every_answer_carries_its_policy(visitor: httpx.Client) -> None:
    for path in ("/", "/login", "/livez", "/v1/jobs", "/nothing"):
        headers = visitor.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def test_beyond_this_machine_it_takes_a_token(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "photos.example"):
        with pytest.raises(InputError, match="takes a token"):
            Settings(folder=tmp_path, host=host).check()
        Settings(folder=tmp_path, host=host, token=TOKEN).check()
    with pytest.raises(InputError, match=r"token \(=5 characters\) must have at least 16"):
        Settings(folder=tmp_path, token="short").check()
    assert TOKEN not in repr(Settings(folder=tmp_path, token=TOKEN))


def test_every_address_of_this_machine_is_its_name(tmp_path: Path) -> None:
    names = Settings(folder=tmp_path, host="0.0.0.0", token=TOKEN, hosts=("Photos.example",)).known_hosts()
    assert {"127.0.0.1", "localhost", "photos.example"} <= names


def test_a_stalled_body_is_given_up(tmp_path: Path) -> None:
    from sdsr.web.guard import Guard
    from sdsr.web.problems import Problem

    settings = Settings(folder=tmp_path, stall_s=0.05)
    seen: list[Problem] = []

    async def app(scope: dict, receive: Callable, send: Callable) -> None:
        try:
            while True:
                await receive()
        except Problem as error:
            seen.append(error)

    async def receive() -> dict:
        await asyncio.sleep(1)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: dict) -> None: ...

    guard = Guard(app, settings, Sessions(secret=b"x"), settings.known_hosts(), lambda path, client: None)
    scope = {"type": "http", "method": "POST", "path": "/v1/photos", "scheme": "http", "client": ("1.2.3.4", 5)}
    asyncio.run(guard({**scope, "headers": [(b"host", b"localhost")]}, receive, send))
    assert [error.status for error in seen] == [408]
