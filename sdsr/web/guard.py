"""What every request passes first: the name it calls us by, where it comes from, who asks, how slowly it may come."""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdsr.web.problems import Problem
from sdsr.web.sessions import COOKIE, LIFETIME_S, Sessions
from sdsr.web.settings import Settings

OPEN = ("/livez", "/readyz", "/login", "/page.css", "/icon.svg")
"""What is answered without a token; none of it tells what was uploaded."""
_LINGER_S = 5.0
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")
SAFE = ("GET", "HEAD", "OPTIONS")
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True, slots=True)
class Guard:
    """Wraps an application. `refuse(path, client)` may give a problem before the body of a POST is read."""

    app: ASGIApp
    settings: Settings
    sessions: Sessions
    hosts: frozenset[str]
    refuse: Callable[[str, str], Problem | None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        client = self._client(scope, headers)
        cookie = None
        if client is None and self.settings.token is None and scope["path"] == "/":
            cookie = self.sessions.mint()
        problem = self._problem(scope, headers, client)
        name = client or f"address {(scope.get('client') or ('?',))[0]}"
        scope.setdefault("state", {})["client"] = name
        outgoing = _with_headers(send, cookie, secure=scope["scheme"] == "https")
        if problem is None and scope["method"] == "POST":
            problem = self.refuse(scope["path"], name)
        if problem is not None:
            await _refuse(self._answer(problem, scope, headers), receive, outgoing)
            return
        await self.app(scope, self._timed(receive), outgoing)

    def _client(self, scope: Scope, headers: Headers) -> str | None:
        """Return the client of a cookie that is ours."""
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        return self.sessions.client(morsel.value) if morsel else None

    def _problem(self, scope: Scope, headers: Headers, client: str | None) -> Problem | None:
        host = headers.get("host", "")
        if _name_of(host) not in self.hosts:
            return Problem(
                400,
                "host",
                f"Host (={host[:80]!r}) is none of this service's names; call it by its address, or allow the name "
                "with --allow-host.",
            )
        if scope["method"] not in SAFE and not _same_origin(scope, headers, host):
            origin = headers.get("origin", headers.get("sec-fetch-site", ""))
            return Problem(
                403, "origin", f"Origin (={origin[:80]!r}) is another site's; only this service's page may do that."
            )
        if self.settings.token is None or client is not None or scope["path"] in OPEN:
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.sessions.accepts(token.strip()):
            return None
        return Problem(
            401,
            "token",
            "token is missing or wrong; send `Authorization: Bearer TOKEN`, or log in at /login.",
            {"WWW-Authenticate": 'Bearer realm="sdsr"'},
        )

    def _answer(self, problem: Problem, scope: Scope, headers: Headers) -> Response:
        """Return the problem, or the way to the login for who looks at the page."""
        if problem.kind == "token" and scope["path"] == "/" and "text/html" in headers.get("accept", ""):
            return RedirectResponse("/login", 303)
        response = problem.response()
        response.headers["Connection"] = "close"  # its body was not read
        return response

    def _timed(self, receive: Receive) -> Receive:
        """Return what gives up a body that stalls, or takes too long in all."""
        until = time.monotonic() + self.settings.upload_s
        complete = False

        async def timed() -> Message:
            nonlocal complete
            if complete:
                return await receive()
            patience = min(self.settings.stall_s, max(0.0, until - time.monotonic()))
            try:
                message = await asyncio.wait_for(receive(), patience)
            except TimeoutError:
                raise Problem(
                    408,
                    "slow",
                    f"the body stalled (limit {self.settings.stall_s:g} s, {self.settings.upload_s:g} s in all); send "
                    "it again over a faster connection.",
                    {"Connection": "close"},
                ) from None
            complete = not message.get("more_body", False)
            return message

        return timed


async def _refuse(response: Response, receive: Receive, send: Send) -> None:
    """Answer at once, then let what is still sent go by for a while: a connection that is closed on a client that is
    sending is reset, and the answer lost."""
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": bytes(response.body), "more_body": True})
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            while (await receive()).get("more_body"):
                pass
    await send({"type": "http.response.body", "body": b""})


def _name_of(host: str) -> str:
    """Return the host's name without the port; "" for what is none."""
    match = _HOST.fullmatch(host.casefold())
    return "" if match is None else match[1].strip("[]")


def _same_origin(scope: Scope, headers: Headers, host: str) -> bool:
    """Whether a request that changes something comes from our own page, or from no page at all."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.casefold() == f"{scope['scheme']}://{host}".casefold()


def session_cookie(value: str, *, secure: bool) -> str:
    """Return the Set-Cookie header of a session; pages elsewhere and scripts can't have it."""
    secured = "; Secure" if secure else ""
    return f"{COOKIE}={value}; Path=/; Max-Age={LIFETIME_S}; HttpOnly; SameSite=Strict{secured}"


def _with_headers(send: Send, cookie: str | None, *, secure: bool) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
            if cookie is not None:
                headers.append("Set-Cookie", session_cookie(cookie, secure=secure))
        await send(message)

    return sending
