"""The suite's own promises: offline, checked tensors, the same photo each time."""

import os
import socket
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor

from sdsr.data.degradation import degradation, truth


def test_a_connection_to_elsewhere_is_refused() -> None:
    with socket.socket() as sock, pytest.raises(RuntimeError, match="offline"):
        sock.connect(("192.0.2.1", 80))
    with pytest.raises(RuntimeError, match="offline"):
        socket.create_connection(("example.org", 443))
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_a_connection_on_this_machine_works(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()[:2]) as client:
        client.sendall(b"x")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        client.connect(str(tmp_path / "socket"))


def test_a_tensor_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(TypeCheckError):
        truth(torch.zeros(1, 4, 8, 8), degradation("photo"))


def test_the_photo_is_an_image_with_detail_and_always_the_same(photo: Tensor) -> None:
    assert photo.shape == (1, 3, 96, 128)
    assert photo.dtype == torch.float32
    assert photo.amin() >= 0
    assert photo.amax() <= 1
    assert photo.diff(dim=-1).abs().mean() > 0.02
    assert photo.mean().item() == pytest.approx(0.4512, abs=1e-3)
