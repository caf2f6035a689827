"""One photo, one process, on one machine or many; the dead are known, and the living are left alone."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sdsr.batch import leasing
from sdsr.batch.alive import Process
from sdsr.batch.claims import Claims, count_claims
from sdsr.batch.leasing import EXPIRY_S, FOLDER, TOUCH_S, Lease, bury
from sdsr.errors import OutputError

HOLD = """
import sys, time
from pathlib import Path
from sdsr.batch.claims import Claims
root = Path(sys.argv[1])
print(Claims(root).take("a.png") is not None, flush=True)
time.sleep(600)
"""


class Clock:
    """The monotonic clock of this machine, which a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(leasing, "_monotonic", clock)
    return clock


def of_another_machine(root: Path) -> tuple[Claims, Lease]:
    """A process of a machine whose locks aren't seen here, and its claim on a.png."""
    claims = Claims(root, machine="elsewhere", locks=False)
    claim = claims.take("a.png")
    assert claim is not None
    return claims, claim


def last_touch(claims: Claims, *, seconds_ago: float) -> None:
    """Let a process of another machine have touched its file then, by the file server's clock, and not since."""
    path = claims.folder / f"{claims.token}.alive"
    then = time.time() - seconds_ago
    os.utime(path, (then, then))


def take(claims: Claims) -> Lease | None:
    return claims.take("a.png")


def test_only_one_has_a_claim_and_nothing_is_left(tmp_path: Path) -> None:
    root = tmp_path / "out"
    one, another = Claims(root), Claims(root)
    first = take(one)
    assert first is not None
    assert take(one) is None
    assert take(another) is None
    assert count_claims(root) == 1
    other = another.take("sub/b.png")
    assert other is not None
    first.release()
    again = take(another)
    assert again is not None
    for claim in (other, again):
        claim.release()
    assert count_claims(root) == 0
    for claims in (another, one):
        claims.close()
    assert not root.exists()


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    claim = take(claims)
    assert claim is not None
    claim.release()
    claims.close()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        take(Claims(tmp_path / "file" / "out"))


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        claims = Claims(tmp_path)
        process.send_signal(signal.SIGSTOP)  # it sleeps, and has its lock
        assert take(claims) is None
        claims.remove_abandoned()
        assert count_claims(tmp_path) == 1
        process.kill()
    claim = take(claims)
    assert claim is not None
    assert claim.number == 2
    claim.release()
    claims.remove_abandoned()
    claims.close()
    assert not list(tmp_path.iterdir())


def test_another_machine_is_dead_when_it_is_silent(tmp_path: Path, clock: Clock) -> None:
    others, theirs = of_another_machine(tmp_path)
    claims = Claims(tmp_path)
    last_touch(others, seconds_ago=EXPIRY_S + 1)
    assert take(claims) is None, "it isn't known yet whether it touches its file"
    clock.now += TOUCH_S
    assert take(claims) is None
    clock.now += 2 * TOUCH_S
    claim = take(claims)
    assert claim is not None
    assert (claim.holds(), theirs.holds()) == (True, False)
    theirs.release()  # it slept, and wakes
    assert claim.holds()
    assert take(Claims(tmp_path)) is None
    claim.release()
    assert not list((tmp_path / FOLDER).glob("*.[0-9]"))


def test_one_that_is_known_to_be_dead_is_not_watched(tmp_path: Path) -> None:
    gone, claim = of_another_machine(tmp_path)
    heir = Claims(tmp_path)
    assert take(heir) is None
    bury(heir, gone.token)
    taken = take(heir)
    assert taken is not None
    assert taken.holds()
    assert not claim.holds(), "should it live after all, it leaves what was taken over"
    gone.close()
    taken.release()
    heir.close()


def test_the_living_of_a_later_version_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = {"token": "later", "machine": "elsewhere", "locks": False, "more": [1]}
    monkeypatch.setattr("sdsr.batch.alive.asdict", lambda process: later)
    claims, _ = of_another_machine(tmp_path)
    monkeypatch.undo()
    process = Process.of(next(claims.folder.glob("*.1")))
    assert process == Process(token="later", machine="elsewhere", locks=False)
    claims.close()


def test_clocks_that_jump_kill_nobody(tmp_path: Path, clock: Clock) -> None:
    others, _ = of_another_machine(tmp_path)
    claims = Claims(tmp_path)
    for minutes in range(-60, 60, 10):  # the server's clock against this machine's; the other one lives on
        last_touch(others, seconds_ago=60.0 * minutes)
        assert take(claims) is None
        clock.now += TOUCH_S
    last_touch(others, seconds_ago=-3600)  # then it dies, and the server's clock is set back by an hour
    assert take(claims) is None
    clock.now += EXPIRY_S - 1
    assert take(claims) is None
    clock.now += 2
    assert take(claims) is not None


def test_of_many_that_find_an_owner_dead_one_has_the_photo(tmp_path: Path, clock: Clock) -> None:
    others, _ = of_another_machine(tmp_path)
    last_touch(others, seconds_ago=2 * EXPIRY_S)
    many = [Claims(tmp_path) for _ in range(8)]
    assert [take(each) for each in many] == [None] * 8
    clock.now += EXPIRY_S
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(take, many))
    assert sum(claim is not None for claim in found) == 1


def test_where_names_cannot_be_linked_leases_are_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    def refuse(*names: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    one, another = Claims(tmp_path), Claims(tmp_path)
    claim = take(one)
    assert claim is not None
    assert take(another) is None
    (lease,) = (tmp_path / FOLDER).glob("*.1")
    lease.write_bytes(b"")  # as it is for a moment
    assert take(another) is None
    clock.now += EXPIRY_S + 1  # its process was killed at that moment
    assert take(another) is not None


def test_an_answer_that_gets_lost_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.link

    def link(*names: Path) -> None:
        own(*names)
        raise FileExistsError(17, "File exists")  # as NFS says when it asks again

    claims = Claims(tmp_path)
    monkeypatch.setattr(os, "link", link)
    assert take(claims) is not None
    assert take(claims) is None
