"""A photo's bytes come from files and pipes; what blocks, never ends or is no file is refused in words."""

import io
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdsr.errors import InputError, LimitError
from sdsr.photos.files import Limits, probe, read_photo
from sdsr.photos.sources import is_pipe, read_pipe, read_source

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
MIB = 1 << 20


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe.png")
    return tmp_path / "pipe.png"


def writes(pipe: Path, data: bytes, *, pause_s: float = 0.0) -> threading.Thread:
    """Write into a pipe from another thread, as another program would, in parts."""

    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            for start in range(0, len(data), 4096):
                file.write(data[start : start + 4096])
                time.sleep(pause_s)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("size", [0, 1, 4096, 70_000, 3 * MIB])
def test_a_pipe_is_read_to_its_end(pipe: Path, size: int) -> None:
    data = os.urandom(size)
    writer = writes(pipe, data)
    assert read_pipe(pipe, 4 * MIB, 30) == data
    writer.join()


def test_a_slow_writer_is_waited_for(pipe: Path) -> None:
    data = os.urandom(20_000)
    writer = writes(pipe, data, pause_s=0.05)
    assert read_pipe(pipe, MIB, 30) == data
    writer.join()


def test_a_pipe_that_nobody_writes_to_is_given_up(pipe: Path) -> None:
    with pytest.raises(InputError, match=r"gave nothing for 0\.05 s; check what writes to it"):
        read_pipe(pipe, MIB, 0.05)
    silent = os.open(pipe, os.O_RDWR)
    with pytest.raises(InputError, match="gave nothing"):
        read_pipe(pipe, MIB, 0.05)
    os.close(silent)


def test_a_pipe_without_end_meets_the_limit(pipe: Path) -> None:
    command = ["sh", "-c", 'exec cat /dev/zero > "$0"', str(pipe)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as writer:
        with pytest.raises(LimitError, match="limit 1048576"):
            read_pipe(pipe, MIB, 30)
        assert writer.wait(30) != 0, "it was stopped by the closed pipe"


def test_a_pipe_made_by_the_shell() -> None:
    reading, writing = os.pipe()
    path = Path(f"/dev/fd/{reading}")
    assert is_pipe(path)
    with os.fdopen(writing, "wb") as file:
        file.write(png())
    assert read_pipe(path, MIB, 30) == png()
    os.close(reading)


def test_readers_of_files_refuse_a_pipe_at_once_and_take_nothing_from_it(pipe: Path) -> None:
    for action in (probe, read_photo):
        with pytest.raises(InputError, match=r"pipe\.png is a named pipe, no file; give it alone, with -o FILE"):
            action(pipe)


def test_what_is_no_file_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path)  # addresses are short
    listener.bind("s.png")
    (tmp_path / "folder.png").mkdir()
    for path, says in {
        Path("/dev/zero"): "zero is a device, no file",
        Path(os.devnull): "null is a device, no file",
        tmp_path / "s.png": "s.png is a socket, no file",
        tmp_path / "folder.png": "folder.png is a folder, no file; give a photo in it",
        tmp_path / "gone.png": "can't be read (No such file or directory)",
        Path("a\0b"): "can't be read (",
        tmp_path / ("x" * 300): "can't be read (File name too long)",
    }.items():
        with pytest.raises(InputError) as caught:
            read_photo(path)
        assert says in str(caught.value)
    listener.close()


def test_a_long_video_is_named_before_its_size(tmp_path: Path) -> None:
    (tmp_path / "clip.jpg").write_bytes(b"\0\0\0\x18ftypisom" + bytes(2000))
    (tmp_path / "long.jpg").write_bytes(png())
    with pytest.raises(InputError, match=r"clip\.jpg is a video, which isn't read; save its frames"):
        probe(tmp_path / "clip.jpg", Limits(max_file_bytes=1000))
    with pytest.raises(LimitError, match=r"long\.jpg has \d+ bytes, limit 1000"):
        probe(tmp_path / "long.jpg", Limits(max_file_bytes=1000))


def test_a_file_without_a_size_is_read() -> None:
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("no /proc here")
    assert read_source(Path("/proc/self/cmdline"), MIB)
