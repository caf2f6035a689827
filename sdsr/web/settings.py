"""What a service is started with: where it listens, what it accepts, how long it keeps things."""

import ipaddress
import socket
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from sdsr.errors import InputError
from sdsr.models import DEFAULT_MODEL
from sdsr.photos.limits import Limits

LEAST_TOKEN_CHARACTERS = 16
SERVICE_LIMITS = Limits(
    max_input_pixels=64_000_000, max_output_pixels=256_000_000, max_file_bytes=64 << 20, program="sdsr serve"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`folder` holds all that is kept. `devices`: one process restores on each; None is this machine's best.

    `hosts` are further names that the service answers to. `queue` is how many jobs may wait or run, `queue_per_client`
    and `photos_per_client` are one client's. What was uploaded or made is deleted after `keep_s`, and when the service
    ends if `forget`. `stored_bytes` is the most that is kept. Times are in seconds.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    devices: tuple[str | None, ...] = (None,)
    model: str = DEFAULT_MODEL
    limits: Limits = SERVICE_LIMITS
    queue: int = 128
    queue_per_client: int = 32
    photos_per_client: int = 200
    stored_bytes: int = 20 << 30
    job_s: float | int = 3600.0
    check_s: float | int = 60.0
    stall_s: float | int = 30.0
    upload_s: float | int = 900.0
    keep_s: float | int = 24 * 3600.0
    forget: bool = False
    metrics: bool = False

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check(self) -> None:
        """Raise InputError for what would leave it open to others, or could not work."""
        if self.token is not None and len(self.token) < LEAST_TOKEN_CHARACTERS:
            raise InputError(
                f"token (={len(self.token)} characters) must have at least {LEAST_TOKEN_CHARACTERS}; make one with "
                "`python -c 'import secrets; print(secrets.token_urlsafe())'`."
            )
        if self.token is None and not self.local:
            raise InputError(
                f"host (={self.host}) can be reached from other machines, which takes a token; write one into a file "
                "for --token-file, or set SDSR_TOKEN."
            )
        if min(self.queue, self.queue_per_client, self.photos_per_client) < 1:
            raise InputError(f"queue (={self.queue}, {self.queue_per_client} for each) must be at least 1; allow one.")

    def known_hosts(self) -> frozenset[str]:
        """Return the names, without a port, that a request may call this service: a page elsewhere can use no other."""
        names = {"127.0.0.1", "localhost", "::1", self.host, *self.hosts}
        if self.host in ("0.0.0.0", "::"):  # every address of this machine
            addresses = (each.address for one in psutil.net_if_addrs().values() for each in one)
            names |= {socket.gethostname(), *(address.partition("%")[0] for address in addresses)}
        return frozenset(name.casefold() for name in names)
