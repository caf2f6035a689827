"""Photos and jobs in SQLite: what is known of them survives the process, and each change happens at once or not."""

import json
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sdsr.web.lines import JobWishes, Message, Outcome

State = Literal["queued", "running", "done", "failed", "canceled"]
Kind = Literal["full", "crop"]
MOST_ATTEMPTS = 3
_SCHEMA = """
CREATE TABLE IF NOT EXISTS photos (
  id TEXT PRIMARY KEY, client TEXT NOT NULL, name TEXT NOT NULL, header TEXT NOT NULL, bytes INTEGER NOT NULL,
  created REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS jobs (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, client TEXT NOT NULL,
  photo TEXT NOT NULL REFERENCES photos (id), kind TEXT NOT NULL, wishes TEXT NOT NULL, state TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL, started REAL, ended REAL, outcome TEXT, problem TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, kind, number);
CREATE INDEX IF NOT EXISTS jobs_by_client ON jobs (client, number);
CREATE INDEX IF NOT EXISTS jobs_by_photo ON jobs (photo);
CREATE INDEX IF NOT EXISTS photos_by_client ON photos (client, created);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoRow:
    """A photo that was uploaded and can be decoded; `header` says its format, width, height, bits, gray, alpha."""

    id: str
    client: str
    name: str
    header: Message
    bytes: int
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job: what is wished of a photo, and what became of it."""

    number: int
    id: str
    client: str
    photo: str
    kind: Kind
    wishes: JobWishes
    state: State
    attempts: int
    created: float
    started: float | None
    ended: float | None
    outcome: Outcome | None
    problem: Message | None


class Store:
    """The tables of a service's folder. Calls take milliseconds; one thread makes them."""

    def __init__(self, path: Path) -> None:
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.row_factory = sqlite3.Row
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA synchronous=NORMAL")
        self.database.execute("PRAGMA foreign_keys=ON")
        self.database.executescript(_SCHEMA)

    def close(self) -> None:
        self.database.close()

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")

    def add_photo(self, id: str, client: str, *, name: str, header: Mapping[str, object], size: int) -> PhotoRow:
        """Note a photo of `size` bytes."""
        self.database.execute(
            "INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?)",
            (id, client, name, json.dumps(dict(header)), size, time.time()),
        )
        photo = self.photo(id)
        assert photo is not None, "it was added"
        return photo

    def photo(self, id: str) -> PhotoRow | None:
        row = self.database.execute("SELECT * FROM photos WHERE id = ?", (id,)).fetchone()
        return None if row is None else _photo(row)

    def photos(self, client: str, most: int = 500) -> list[PhotoRow]:
        """Return a client's photos, the newest first."""
        rows = self.database.execute(
            "SELECT * FROM photos WHERE client = ? ORDER BY created DESC LIMIT ?", (client, most)
        )
        return [_photo(row) for row in rows]

    def count_photos(self, client: str) -> int:
        return self._count("SELECT count(*) FROM photos WHERE client = ?", client)

    def add_job(
        self, client: str, photo: str, kind: Kind, wishes: JobWishes, *, most: int, most_of_client: int
    ) -> JobRow | None:
        """Queue a job; None where as many as may be are waiting or running already."""
        id = secrets.token_urlsafe(24)
        with self._at_once():
            if self.count_active() >= most or self.count_active(client) >= most_of_client:
                return None
            self.database.execute(
                "INSERT INTO jobs (id, client, photo, kind, wishes, state, created) "
                "VALUES (?, ?, ?, ?, ?, 'queued', ?)",
                (id, client, photo, kind, json.dumps(wishes), time.time()),
            )
        return self.job(id)

    def job(self, id: str) -> JobRow | None:
        row = self.database.execute("SELECT * FROM jobs WHERE id = ?", (id,)).fetchone()
        return None if row is None else _job(row)

    def jobs(self, client: str, most: int = 500) -> list[JobRow]:
        """Return a client's jobs, the newest first."""
        rows = self.database.execute("SELECT * FROM jobs WHERE client = ? ORDER BY number DESC LIMIT ?", (client, most))
        return [_job(row) for row in rows]

    def count_active(self, client: str | None = None) -> int:
        """Return how many jobs, of a client or in all, are waiting or running."""
        count = "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')"
        return self._count(count) if client is None else self._count(f"{count} AND client = ?", client)

    def counts(self) -> dict[str, int]:
        """Return how many jobs there are in each state."""
        return dict(self.database.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())

    def position(self, job: JobRow) -> int:
        """Return how many jobs are before a waiting one: of its kind those that came earlier, and crops."""
        return self._count(
            "SELECT count(*) FROM jobs WHERE state = 'queued' AND (kind < ? OR (kind = ? AND number < ?))",
            job.kind,
            job.kind,
            job.number,
        )

    def take(self, *kinds: Kind) -> JobRow | None:
        """Let the next job run: of the first of these kinds that any waits of, the one that came first."""
        for kind in kinds:
            row = self.database.execute(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, started = ? WHERE number = "
                "(SELECT number FROM jobs WHERE state = 'queued' AND kind = ? ORDER BY number LIMIT 1) RETURNING *",
                (time.time(), kind),
            ).fetchone()
            if row is not None:
                return _job(row)
        return None

    def finish(self, id: str, outcome: Outcome) -> bool:
        """Note a result; False where the job runs no longer, since it was canceled."""
        return self._end(id, "done", "running", outcome=json.dumps(outcome))

    def fail(self, id: str, problem: Mapping[str, object]) -> bool:
        return self._end(id, "failed", "running", problem=json.dumps(dict(problem)))

    def cancel(self, id: str) -> bool:
        """Note that a job isn't wanted; False where it has ended."""
        return self._end(id, "canceled", "queued", "running")

    def park(self, id: str) -> None:
        """Let a job that runs wait again."""
        self.database.execute(
            "UPDATE jobs SET state = 'queued', started = NULL, attempts = attempts - 1 "
            "WHERE id = ? AND state = 'running'",
            (id,),
        )

    def resume(self, problem: Mapping[str, object]) -> list[str]:
        """Let jobs that were cut off wait again; those that were cut off too often have failed, and are returned."""
        with self._at_once():
            failed = self.database.execute(
                "UPDATE jobs SET state = 'failed', ended = ?, problem = ? WHERE state = 'running' AND attempts >= ? "
                "RETURNING id",
                (time.time(), json.dumps(dict(problem)), MOST_ATTEMPTS),
            ).fetchall()
            self.database.execute("UPDATE jobs SET state = 'queued', started = NULL WHERE state = 'running'")
        return [row["id"] for row in failed]

    def forget_job(self, id: str) -> bool:
        """Delete what is known of a job that has ended."""
        ended = "DELETE FROM jobs WHERE id = ? AND state IN ('done', 'failed', 'canceled')"
        return self.database.execute(ended, (id,)).rowcount > 0

    def forget_photo(self, id: str) -> bool:
        """Delete a photo that no job stands on."""
        return (
            self.database.execute(
                "DELETE FROM photos WHERE id = ? AND NOT EXISTS (SELECT 1 FROM jobs WHERE photo = photos.id)", (id,)
            ).rowcount
            > 0
        )

    def expired(self, before: float) -> tuple[list[str], list[str]]:
        """Return the jobs that ended, and the photos that came, before a time; in seconds since 1970."""
        return self._ids("jobs WHERE ended < ?", before), self._ids("photos WHERE created < ?", before)

    def known(self) -> tuple[set[str], set[str]]:
        """Return the ids of all jobs and of all photos."""
        return set(self._ids("jobs")), set(self._ids("photos"))

    def _ids(self, of: str, *values: object) -> list[str]:
        return [row["id"] for row in self.database.execute(f"SELECT id FROM {of}", values)]

    def _count(self, query: str, *values: object) -> int:
        return int(self.database.execute(query, values).fetchone()[0])

    def _end(
        self, id: str, state: State, *before: State, outcome: str | None = None, problem: str | None = None
    ) -> bool:
        marks = ", ".join("?" * len(before))
        return (
            self.database.execute(
                f"UPDATE jobs SET state = ?, ended = ?, outcome = ?, problem = ? WHERE id = ? AND state IN ({marks})",
                (state, time.time(), outcome, problem, id, *before),
            ).rowcount
            > 0
        )


def _photo(row: sqlite3.Row) -> PhotoRow:
    return PhotoRow(**{**dict(row), "header": json.loads(row["header"])})


def _job(row: sqlite3.Row) -> JobRow:
    facts = dict(row)
    for name in ("wishes", "outcome", "problem"):
        facts[name] = None if facts[name] is None else json.loads(facts[name])
    return JobRow(**facts)
