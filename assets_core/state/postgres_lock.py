"""One run at a time on a state in PostgreSQL: an advisory lock of a session of its own, held for the whole of a run.

Theory of operation
-------------------
The lock alone decides, and the server frees it when the session ends: at once if its process ended, and within 11 s if its machine or
the network went away, by the keepalives that both sides of every connection set. The row of `run_lock` says for people who holds it;
a row whose session has no lock is of one that was killed, and counts for nothing.

While it is held, a thread renews the row by the database's clock. That is also how a holder learns that it lost its session (the
server was restarted): it takes the lock again if nobody else has. If somebody has, that one has settled this run as crashed, and the
state refuses whatever it still wrote.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from assets_core.model.errors import StoreError
from assets_core.state.locks import LockHolder, OnWait, Patience, RunLock, held_by
from assets_core.state.postgres_connection import connect, lock_key
from assets_core.state.postgres_errors import in_users_words, place_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from assets_core.state.postgres_connection import Database

_POLL: Final = timedelta(milliseconds=200)
_RENEW: Final = timedelta(seconds=3)

_TAKE: Final = "select pg_try_advisory_lock(%s)"
_SAY: Final = """
insert into run_lock (id, host, process_id, run_id, backend, acquired_at, renewed_at)
values (1, %s, %s, %s, pg_backend_pid(), clock_timestamp(), clock_timestamp())
on conflict (id) do update set host = excluded.host, process_id = excluded.process_id, run_id = excluded.run_id,
    backend = excluded.backend, acquired_at = excluded.acquired_at, renewed_at = excluded.renewed_at"""
_RENEW_ROW: Final = (
    "update run_lock set renewed_at = clock_timestamp() where backend = pg_backend_pid()"
)
_UNSAY: Final = "delete from run_lock where backend = pg_backend_pid()"
# The halves of an advisory lock's number are in two columns; put together they are it, sign and all.
_WHO: Final = """
select run_lock.process_id, run_lock.run_id, run_lock.host from pg_locks left join run_lock on run_lock.backend = pg_locks.pid
where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
  and (classid::bigint << 32) | objid::bigint = ? and objsubid = 1 and granted"""


class PostgresLock(RunLock):
    """The lock of the state in `database`. Taking it makes the state's tables; asking who holds it makes nothing."""

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
        self._session: psycopg.Connection[Any] | None = None
        self._run_id = ""
        self._ended = threading.Event()
        self._renewing: threading.Thread | None = None

    def acquire(
        self, run_id: str, *, wait: bool | timedelta = False, on_wait: OnWait | None = None
    ) -> Self:
        """Take the lock in the name of this process and `run_id`; answers itself, to be used with `with`.

        Raises StoreError, naming the holder, if it is still held then; or if the server can't be used.
        """
        address = self._database.address
        if self._renewing is not None:
            raise StoreError(f"The {place_of(address)} is already held by this process.")
        self._database.prepare()
        with in_users_words(address):
            session = connect(address)
            try:
                other = self._patience.wait(
                    lambda: self._take(session, run_id), self.holder, wait, on_wait
                )
            except BaseException:
                session.close()
                raise
        if other is not None:
            session.close()
            raise held_by(other, f"the {place_of(address)}")
        self._session, self._run_id = session, run_id
        self._ended.clear()
        self._renewing = threading.Thread(target=self._keep, name="run lock", daemon=True)
        self._renewing.start()
        return self

    def release(self) -> None:
        """Free the lock; freeing one that is not held is fine."""
        import psycopg  # noqa: PLC0415 - heavy, and an extra

        if self._renewing is None:
            return
        self._ended.set()
        self._renewing.join()
        self._renewing = None
        session, self._session = self._session, None
        if session is not None:
            # Closing frees it; a session that is gone already has nothing to free.
            with session, suppress(psycopg.OperationalError):
                session.execute(_UNSAY)

    def is_held(self) -> bool:
        """True while a living process, this one included, holds the lock. Creates nothing. Raises StoreError."""
        return self._probe()[0]

    def holder(self) -> LockHolder | None:
        """Who holds the lock; None if nobody does, or if the holder has not written its name yet."""
        return self._probe()[1]

    def _probe(self) -> tuple[bool, LockHolder | None]:
        if not self._database.server().holds_state:
            return False, None
        with self._database.read() as cursor:
            row = cursor.execute(_WHO, (self._key,)).fetchone()
        if row is None:
            return False, None
        return True, None if row[0] is None else LockHolder(*row)

    def _take(self, session: psycopg.Connection[Any], run_id: str) -> bool:
        row = session.execute(_TAKE, (self._key,)).fetchone()
        if row != (True,):
            return False
        session.execute(_SAY, (socket.gethostname(), os.getpid(), run_id))
        return True

    def _keep(self) -> None:
        """Renew the lease until the lock is released."""
        while not self._ended.wait(_RENEW.total_seconds()):
            self.renew()

    def renew(self) -> None:
        """Say that this process lives; take the lock again if its session was lost and nobody else has it."""
        import psycopg  # noqa: PLC0415 - heavy, and an extra

        # A server that does not answer now may do so at the next attempt; until then the run's own writes tell the user.
        with suppress(psycopg.Error, StoreError):
            if self._session is not None and not self._session.closed:
                self._session.execute(_RENEW_ROW)
                return
            session = connect(self._database.address)
            try:
                taken = self._take(session, self._run_id)
            except BaseException:
                session.close()
                raise
            if taken:
                self._session = session
            else:
                session.close()
