"""The locks of a state in PostgreSQL: advisory locks of sessions of their own, held for the whole of a run.

Theory of operation
-------------------
A run's session holds two: a share of the project's lock, and all of its own. They alone decide, and the server frees them when the
session ends: at once if its process ended, and within 11 s if its machine or the network went away, by the keepalives that both sides
of every connection set. The row of `run_lock` says for people who holds them; a row whose session has no lock is of one that was
killed, and counts for nothing.

While they are held, a thread renews the row by the database's clock. That is also how a holder learns that it lost its session (the
server was restarted): it takes its locks again if nobody else has. If somebody has, that one has settled this run as crashed, and the
state refuses whatever it still wrote.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from assets_core.model.errors import StoreError
from assets_core.state.locks import Held, LockHolder, OnWait, Patience, RunLocks, is_going_on
from assets_core.state.postgres_connection import connect, lock_key
from assets_core.state.postgres_errors import in_users_words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import psycopg

    from assets_core.state.postgres_connection import Database

_POLL: Final = timedelta(milliseconds=200)
_RENEW: Final = timedelta(seconds=3)

_TAKE: Final = "select pg_try_advisory_lock(%s)"
_SHARE: Final = "select pg_try_advisory_lock_shared(%s)"
_SAY: Final = """
insert into run_lock (backend, host, process_id, run_id, acquired_at, renewed_at)
values (pg_backend_pid(), %s, %s, %s, clock_timestamp(), clock_timestamp())
on conflict (backend) do update set host = excluded.host, process_id = excluded.process_id, run_id = excluded.run_id,
    acquired_at = excluded.acquired_at, renewed_at = excluded.renewed_at"""
_RENEW_ROW: Final = (
    "update run_lock set renewed_at = clock_timestamp() where backend = pg_backend_pid()"
)
_UNSAY: Final = "delete from run_lock where backend = pg_backend_pid()"
# The halves of an advisory lock's number are in two columns; put together they are it, sign and all.
_WHO: Final = """
select coalesce(run_lock.process_id, 0), coalesce(run_lock.run_id, ''), coalesce(run_lock.host, '')
from pg_locks left join run_lock on run_lock.backend = pg_locks.pid
where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
  and (classid::bigint << 32) | objid::bigint = ? and objsubid = 1 and granted
order by run_lock.run_id"""


class PostgresLocks(RunLocks):
    """The locks of the state in `database`. Taking one makes the state's tables; asking who holds it makes nothing."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._patience = Patience(_POLL, clock, sleep)
        self._key = lock_key("run", database.address)

    def join(self, run_id: str, *, on_wait: OnWait | None = None) -> PostgresHeld:
        """Take the lock of a run; waits for maintenance to end."""
        held = self._session(run_id, [(_SHARE, self._key), (_TAKE, self._key_of(run_id))])
        try:
            self._patience.wait(
                lambda: held.try_lock(0), lambda: next(iter(self.holders()), None), on_wait
            )
            taken = held.try_lock(1)
        except BaseException:
            held.release()
            raise
        if not taken:
            held.release()
            raise is_going_on(self, run_id)
        return held

    def exclude(self, purpose: str, *, on_wait: OnWait | None = None) -> PostgresHeld:
        """Wait until nobody is at work on the state, and keep everybody out."""
        held = self._session(purpose, [(_TAKE, self._key)])
        try:
            self._patience.wait(
                lambda: held.try_lock(0), lambda: next(iter(self.holders()), None), on_wait
            )
        except BaseException:
            held.release()
            raise
        return held

    def take_over(self, run_id: str) -> PostgresHeld | None:
        """The lock of a run whose process is dead."""
        held = self._session(run_id, [(_TAKE, self._key_of(run_id))])
        try:
            taken = held.try_lock(0)
        except BaseException:
            held.release()
            raise
        if not taken:
            held.release()
            return None
        return held

    def holder(self, run_id: str) -> LockHolder | None:
        """Who holds the lock of a run."""
        found = self._who(self._key_of(run_id))
        return LockHolder(found[0].process_id, run_id, found[0].host) if found else None

    def holders(self) -> list[LockHolder]:
        """Everybody who is at work on the state."""
        return [holder for holder in self._who(self._key) if holder.run_id]

    def _key_of(self, run_id: str) -> int:
        return lock_key(f"run {run_id}", self._database.address)

    def _who(self, key: int) -> list[LockHolder]:
        if not self._database.server().holds_state:
            return []
        with self._database.read() as cursor:
            return [LockHolder(*row) for row in cursor.execute(_WHO, (key,)).fetchall()]

    def _session(self, name: str, locks: Sequence[tuple[str, int]]) -> PostgresHeld:
        self._database.prepare()
        return PostgresHeld(self._database, name, locks)


class PostgresHeld(Held):
    """A session with its locks, each a statement that takes it and its number, and the thread that keeps them."""

    def __init__(self, database: Database, name: str, locks: Sequence[tuple[str, int]]) -> None:
        self._database = database
        self._name = name
        self._locks = locks
        self._ended = threading.Event()
        with in_users_words(database.address):
            self._session: psycopg.Connection[Any] | None = connect(database.address)
        self._renewing: threading.Thread | None = None

    def try_lock(self, number: int) -> bool:
        """Take one of the locks if it is free. With the last one the session's name is written and keeping begins."""
        assert self._session is not None
        with in_users_words(self._database.address):
            if not _take(self._session, self._locks[number]):
                return False
            if number == len(self._locks) - 1:
                _say(self._session, self._name)
                self._renewing = threading.Thread(target=self._keep, name="run lock", daemon=True)
                self._renewing.start()
        return True

    def release(self) -> None:
        """Free the locks."""
        import psycopg  # noqa: PLC0415 - heavy, and an extra

        self._ended.set()
        if self._renewing is not None:
            self._renewing.join()
            self._renewing = None
        session, self._session = self._session, None
        if session is not None:
            # Closing frees them; a session that is gone already has nothing to free.
            with session, suppress(psycopg.OperationalError):
                session.execute(_UNSAY)

    def _keep(self) -> None:
        """Renew the lease until the locks are released."""
        while not self._ended.wait(_RENEW.total_seconds()):
            self.renew()

    def renew(self) -> None:
        """Say that this process lives; take the locks again if the session was lost and nobody else has them."""
        import psycopg  # noqa: PLC0415 - heavy, and an extra

        # A server that does not answer now may do so at the next attempt; until then the run's own writes tell the user.
        with suppress(psycopg.Error, StoreError):
            if self._session is not None and not self._session.closed:
                self._session.execute(_RENEW_ROW)
                return
            session = connect(self._database.address)
            try:
                taken = all(_take(session, lock) for lock in self._locks)
                if taken:
                    _say(session, self._name)
            except BaseException:
                session.close()
                raise
            if taken:
                self._session = session
            else:
                session.close()


def _take(session: psycopg.Connection[Any], lock: tuple[str, int]) -> bool:
    statement, key = lock
    return session.execute(statement, (key,)).fetchone() == (True,)


def _say(session: psycopg.Connection[Any], name: str) -> None:
    session.execute(_SAY, (socket.gethostname(), os.getpid(), name))
