"""What the whole suite stands on: one thread unless OMP_NUM_THREADS says so, no network, every tensor's shape and type
checked, a photo to work on."""

import gc
import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests.checked import check_modules

ROOT = Path(__file__).parents[1]
UNCHECKED = {"assets", "cli"}  # typer reads the annotations of cli itself

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # which our own code says, and tests import it directly

setattr(Protocol, "_is_runtime_protocol", True)  # noqa: B010  beartype asks isinstance of a protocol in an annotation


CHECKED = [
    f"sdsr.{path.stem}"
    for path in (ROOT / "sdsr").iterdir()
    if path.stem.isidentifier() and not path.stem.startswith("__") and path.stem not in UNCHECKED
]
check_modules(CHECKED)

import torch  # noqa: E402  after the hook, like everything that imports sdsr
from torch import Tensor  # noqa: E402

if "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(1)
pytest_plugins = ["tests.cmyk", "tests.consissr_checkpoint", "tests.folders", "tests.signers", "tests.tiny"]
settings.register_profile("suite", derandomize=True, database=None, deadline=None, max_examples=30)
settings.load_profile("suite")


SHARED = ("tests/test_crops.py", "tests/web/test_service.py")
"""Modules whose tests share what takes seconds to make: each is for one worker."""
SHARED_BY_PARAMETER = ("tests/methods/test_contract.py",)
"""Those whose tests share it where they have the same parameter: a method at work, and what it restored."""


class OneByOne(LoadScopeScheduling):
    """Gives workers one test after another, or those that share. (xdist's groups are no more, since pytest 9.2.)"""

    def _split_scope(self, nodeid: str) -> str:
        module, _, test = nodeid.partition("::")
        if module in SHARED_BY_PARAMETER:
            return f"{module}[{test.partition('[')[2]}"
        return module if module in SHARED else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneByOne:
    return OneByOne(config, log)


def pytest_collection_finish() -> None:
    """Spare what was imported, which lives as long as the suite, Python's search for rubbish: a tenth of its time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class NetworkError(RuntimeError):
    """A test reached for the network. Not an OSError, which libraries catch to try again."""


def _is_local(host: object) -> bool:
    if host in (None, "", b"", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host)).is_loopback
    except ValueError:
        return False


def _guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
    """Return the socket method, refusing an address outside this machine; its last argument is the address."""

    def guard(self: socket.socket, *args: Any) -> Any:
        if self.family != socket.AF_UNIX and not _is_local(args[-1][0]):
            raise NetworkError(f"a test opened a connection to {args[-1]}; the suite runs offline.")
        return connect(self, *args)

    return guard


def _guarded_lookup(getaddrinfo: Callable[..., Any]) -> Callable[..., Any]:
    def guard(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_local(host):
            raise NetworkError(f"a test looked up {host}; the suite runs offline.")
        return getaddrinfo(host, *args, **kwargs)

    return guard


for method in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, method, _guarded(getattr(socket.socket, method)))
socket.getaddrinfo = _guarded_lookup(socket.getaddrinfo)


@pytest.fixture
def plain_convolutions() -> Iterator[None]:
    """Convolutions that sum products place by place, for tests of how far a network looks.

    Winograd's, which some processors have, transform tiles: places that nothing reaches change there by rounding.
    """
    backends = torch.backends.mkldnn, torch.backends.nnpack
    before = [backend.set_flags(False)[0] for backend in backends]
    yield
    for backend, enabled in zip(backends, before, strict=True):
        backend.set_flags(enabled)


@pytest.fixture
def rng() -> torch.Generator:
    """A generator of fixed seed."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def photo(rng: torch.Generator) -> Tensor:
    """A photo-like image (1, 3, 96, 128) in [0, 1]: shaded ground, 1/f texture, a disk, stripes, related colors."""
    height, width = 96, 128
    down, right = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    frequency = torch.hypot(*torch.meshgrid(torch.fft.fftfreq(height), torch.fft.rfftfreq(width), indexing="ij"))
    spectrum = torch.fft.rfft2(torch.randn(3, height, width, generator=rng)) / frequency.clamp(min=1 / width)
    texture = torch.fft.irfft2(spectrum, s=(height, width))
    texture = texture.mean(0) + 0.2 * texture
    ground = torch.stack((0.35 + 0.4 * right, 0.45 + 0.2 * down, 0.6 - 0.3 * right))
    disk = (torch.hypot(down - 0.5, (right - 0.35) * width / height) < 0.28).float()
    stripes = 0.15 * torch.sign(torch.sin(torch.pi * width / 4 * right)) * (down > 0.75)
    return (ground + 0.06 * texture / texture.std() - 0.25 * disk + stripes).clamp(0, 1)[None]
