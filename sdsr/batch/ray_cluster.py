"""A Ray cluster: joined, or started on this machine; and what of it each worker gets."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from sdsr.errors import InputError

_KNOCKING_S = 10.0
_STORE_BYTES = 80 << 20  # of a local cluster's object store; Ray's least is 75 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where to work: an `address` that Ray knows ("auto", "ray://host:10001"), None for this machine alone.

    There are so many `workers`; None stands for one for each accelerator, or one for four cores where there is none.
    """

    address: str | None = None
    workers: int | None = None


def shares(resources: Mapping[str, float], workers: int | None) -> tuple[int, dict[str, int]]:
    """Return how many workers there are, and what Ray is to keep for each: a device, or its part of the cores."""
    cores = int(resources.get("CPU", 1))
    devices = int(resources.get("GPU", 0))
    count = workers or devices or max(1, cores // 4)
    most = devices or cores
    if count > most:
        kind = "devices" if devices else "cores"
        raise InputError(f"workers (={count}) must be at most {most}, the cluster's {kind}; start fewer.")
    if devices:
        return count, {"num_gpus": 1, "num_cpus": max(1, min(4, cores // count))}
    return count, {"num_cpus": max(1, cores // count)}


def import_ray() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anyone
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import_module("ray.exceptions")
        return import_module("ray")
    except ImportError as error:
        raise InputError("--engine ray needs Ray, which is missing; pip install 'sdsr[ray]'.") from error


def connect(ray: ModuleType, cluster: Cluster) -> bool:
    """Join the cluster, or start one of this machine; return whether that was done here and now."""
    if ray.is_initialized():
        return False
    local = {"include_dashboard": False, "object_store_memory": _STORE_BYTES} if cluster.address is None else {}
    try:
        _knock(cluster.address)
        ray.init(address=cluster.address or "local", log_to_driver=False, logging_level="warning", **local)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"address (={cluster.address}) leads to no Ray cluster ({str(error).splitlines()[0]}); start one with "
            "`ray start --head`, or leave --address out."
        ) from error
    return True


def _knock(address: str | None) -> None:
    """Raise OSError where nobody listens at HOST:PORT, for which Ray waits for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_KNOCKING_S).close()
