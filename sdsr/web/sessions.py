"""Who asks: a cookie that names a client and that only this service can have made, or a bearer token."""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from sdsr.photos.parts import whole_file

COOKIE = "sdsr"
LIFETIME_S = 30 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Makes and checks cookies. `secret` is the folder's; with another token, all cookies are worth nothing."""

    secret: bytes = field(repr=False)
    token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, folder: Path, token: str | None) -> "Sessions":
        """Return those of a service's folder, whose secret is made when it is needed first."""
        path = folder / "secret"
        if not path.exists():
            with whole_file(path) as part:
                part.touch(mode=0o600, exist_ok=False)
                part.write_bytes(secrets.token_bytes(32))
        return cls(secret=path.read_bytes(), token=token)

    def accepts(self, token: str) -> bool:
        """Whether this is the token; in a time that tells nothing about it."""
        return self.token is not None and hmac.compare_digest(token.encode(), self.token.encode())

    def mint(self) -> str:
        """Return the cookie of a new client."""
        said = f"{secrets.token_urlsafe(18)}.{int(time.time()) + LIFETIME_S}"
        return f"{said}.{self._signature(said)}"

    def client(self, cookie: str) -> str | None:
        """Return the client that a cookie names; None for one that isn't ours, or has expired."""
        said, _, signature = cookie.rpartition(".")
        name, _, until = said.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(said).encode()):
            return None
        return name if until.isdecimal() and int(until) > time.time() else None

    def _signature(self, said: str) -> str:
        key = self.secret + (self.token or "").encode()
        return hmac.new(hashlib.sha256(key).digest(), said.encode(), "sha256").hexdigest()
