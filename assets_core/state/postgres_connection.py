"""Connecting to a state in PostgreSQL, and transactions on it. Failures in the user's words are in `postgres_errors`.

Theory of operation
-------------------
A *writer* first takes the row of `seq_counter` (`for update`) and holds it until it commits: writers take turns, statements that follow
see all that was committed before, and since the same row hands out seq, its order is the order of commits. A *reader* sees one commit
(repeatable read, read only) and waits for nobody.

Three things can break. *Between* transactions a connection may have died: the first statement of the next one finds out, nothing was
sent that could count twice, and it is sent once more over a new connection. *Within* one, what was written is undone by the server, and
StoreError says so. At the COMMIT it is not known which: the same transaction wrote its number into `writer`, so whoever holds the
counter's row next (which waits for the end of the lost one) reads there whether it took place. It is never sent again.

What can never be: a commit that is acknowledged before it is on the server's disk (`synchronous_commit`), a transaction on a schema
that is not Partita's, that a newer Partita wrote, or that was dropped or replaced since it was first used. Reading a schema that does not
exist creates nothing and answers as an empty store.

A machine that vanishes holds what it held for at most 11 s: that is what the keepalives say which both sides set.

Threads of one process may share an instance: a mutex makes them take turns. It must not cross a fork.
"""

from __future__ import annotations

import threading
import time
import uuid
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from assets_core.failpoints import failpoint
from assets_core.model.errors import StoreError
from assets_core.state.postgres_errors import grant_for, in_users_words, place_of, quoted
from assets_core.state.postgres_schema import MARK, MIGRATIONS, SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from assets_core.state.dialects import Cursor
    from assets_core.state.postgres_address import Address

OLDEST_SERVER: Final = 14
_BACKOFF: Final = (timedelta(milliseconds=100), timedelta(seconds=1), timedelta(seconds=5))
"""Waits before the attempts to connect again, after a connection was lost."""

_CLIENT: Final = {
    "application_name": "partita",
    "client_encoding": "utf8",
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 11_000,
}
"""What the address may say otherwise."""

# The same for the server's side. A session that waits for work, or for the end of a run, is not idle in a harmful way; a transaction
# takes milliseconds, so one that stands still for a minute is of a process that was stopped, and holds up all others.
_SESSION: Final = """
set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3; set tcp_user_timeout = 11000;
set default_transaction_isolation = 'read committed'; set idle_session_timeout = 0; set idle_in_transaction_session_timeout = 60000;
select set_config('synchronous_commit', 'on', false)
where current_setting('synchronous_commit') in ('off', 'local', 'remote_write')"""

_LOOK: Final = """
select namespace.oid is not null,
       (select count(*) from pg_class where relnamespace = namespace.oid and relkind in ('r', 'p', 'v', 'm')),
       coalesce(obj_description(meta.oid, 'pg_class'), ''), current_setting('server_encoding')
from (select) one left join pg_namespace namespace on namespace.nspname = $1
left join pg_class meta on meta.relnamespace = namespace.oid and meta.relname = 'meta'"""
_READ_META: Final = "select max(value) filter (where name = 'schema_version'), max(value) filter (where name = 'state_id') from meta"
_SET_VERSION: Final = "insert into meta values ('schema_version', $1) on conflict (name) do update set value = excluded.value"
_SET_CREATED: Final = """
insert into meta values ('created_at', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')),
                        ('state_id', $1) on conflict do nothing"""

# Of the schema if it is there, else of the database it would be made in.
_MAY_WRITE: Final = """
select current_user::text, case when namespace.oid is null then has_database_privilege(current_database(), 'create')
    when counter.oid is null then has_schema_privilege(namespace.oid, 'create')
    else has_schema_privilege(namespace.oid, 'usage') and has_table_privilege(counter.oid, 'update') end
from (select) one left join pg_namespace namespace on namespace.nspname = ?
left join pg_class counter on counter.relnamespace = namespace.oid and counter.relname = 'seq_counter'"""

_BEGIN_READING: Final = "begin isolation level repeatable read read only"
_BEGIN_WRITING: Final = "begin isolation level read committed read write"
_LOCK_COUNTER: Final = (
    "select (select value from meta where name = 'state_id') from seq_counter for update"
)
_SAY_SERIAL: Final = """
insert into writer (id, serial, at) values ($1, $2, clock_timestamp())
on conflict (id) do update set serial = excluded.serial, at = excluded.at"""
_READ_SERIAL: Final = "select serial from writer where id = $1"
_FORGET_WRITERS: Final = "delete from writer where at < clock_timestamp() - interval '7 days'"


@dataclass(frozen=True, slots=True)
class Server:
    """What answers: `place` names database, host and schema, `version` is PostgreSQL's, `holds_state` whether a run was here before.

    `may_write` is whether `user` may record there, or make the schema; `grant` is what its owner would have to run.
    """

    place: str
    version: str
    user: str
    holds_state: bool
    may_write: bool
    grant: str


class Database:
    """One schema of one database; `read` and `write` are transactions on it. `sleep` (seconds) is for tests."""

    def __init__(self, address: Address, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.address = address
        self._sleep = sleep
        self._mutex = threading.RLock()
        self._connection: psycopg.Connection[Any] | None = None
        self._release: weakref.finalize[..., Database] | None = None
        self._writer = uuid.uuid4().hex
        self._serial = 0
        self._state_id: str | None = None
        self._prepared = False
        self._closed = False

    @contextmanager
    def read(self) -> Iterator[Cursor]:
        """A transaction that sees one commit and writes nothing. Raises StoreError."""
        with self._mutex, in_users_words(self.address):
            connection = self._begin(self._start_reading)
            if not self._prepared:
                self._roll_back(connection)
                with _nothing() as cursor:
                    yield cursor
                return
            try:
                yield _cursor(connection)
            finally:
                self._roll_back(connection)

    @contextmanager
    def write(self) -> Iterator[Cursor]:
        """A transaction that is durable when the block ends, and undone if the block raises. Raises StoreError."""
        with self._mutex, in_users_words(self.address):
            connection = self._begin(self._start_writing)
            try:
                yield _cursor(connection)
                failpoint("state.commit")
                self._commit(connection)
                failpoint("state.committed")
            finally:
                self._roll_back(connection)

    def close(self) -> None:
        """Release the connection; any later transaction raises StoreError. Closing twice is fine."""
        with self._mutex:
            self._closed = True
            self._drop()

    def prepare(self) -> None:
        """Make sure that the tables are there. Raises StoreError."""
        with self.write():
            pass

    def server(self) -> Server:
        """What answers at the address. Raises StoreError."""
        with self._mutex, in_users_words(self.address):
            connection = self._begin(self._start_reading)
            user, may_write = _cursor(connection).execute(_MAY_WRITE, (self.address.schema,)).get
            self._roll_back(connection)
            version = str(connection.info.parameter_status("server_version"))
            grant = grant_for(self.address, user, there=self._prepared)
            return Server(
                place_of(self.address), version, user, self._prepared, bool(may_write), grant
            )

    def _begin(self, start: Callable[[psycopg.Connection[Any]], None]) -> psycopg.Connection[Any]:
        """A connection in a transaction that `start` began. One that was lost since it was last used is made again."""
        import psycopg  # noqa: PLC0415 - heavy, and an extra

        if self._closed:
            raise StoreError(f"The state store {place_of(self.address)} is closed.")
        if self._connection is not None:
            try:
                start(self._connection)
            except psycopg.OperationalError:
                if not self._connection.closed:
                    self._roll_back(self._connection)
                    raise
                self._drop()
                return self._begin_anew(start)
            except BaseException:
                self._roll_back(self._connection)
                raise
            return self._connection
        return self._started(start)

    def _begin_anew(
        self, start: Callable[[psycopg.Connection[Any]], None]
    ) -> psycopg.Connection[Any]:
        import psycopg  # noqa: PLC0415 - heavy, and an extra

        for wait in _BACKOFF:
            self._sleep(wait.total_seconds())
            try:
                return self._started(start)
            except psycopg.OperationalError:
                if wait == _BACKOFF[-1]:
                    raise
        raise AssertionError  # pragma: no cover - the last attempt returns or raises

    def _started(
        self, start: Callable[[psycopg.Connection[Any]], None]
    ) -> psycopg.Connection[Any]:
        connection = connect(self.address)
        self._connection = connection
        # A command ends without closing its store; the server is to be told all the same.
        self._release = weakref.finalize(self, connection.close)
        try:
            start(connection)
        except BaseException:
            self._drop()
            raise
        return connection

    def _start_reading(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(_BEGIN_READING)
        if not self._prepared and self._look(connection) not in {0, SCHEMA_VERSION}:
            connection.execute("rollback")
            self._migrate(connection)
            connection.execute(_BEGIN_READING)

    def _start_writing(self, connection: psycopg.Connection[Any]) -> None:
        if not self._prepared and self._look(connection) < SCHEMA_VERSION:
            self._migrate(connection)
        if self._serial == 0:
            connection.execute(_FORGET_WRITERS)
        self._serial += 1
        counter, serial = _cursor(connection), _cursor(connection)
        with connection.pipeline():  # one round trip
            connection.execute(_BEGIN_WRITING)
            counter.execute(_LOCK_COUNTER)
            serial.execute(_SAY_SERIAL, (self._writer, self._serial))
        if counter.fetchone() != (self._state_id,):
            raise StoreError(
                f"The state {place_of(self.address)} was removed or replaced while it was in use; nothing more is recorded.",
                hint="Run the command again; it opens the state that is there now.",
            )

    def _look(self, connection: psycopg.Connection[Any]) -> int:
        """The version of the schema that is there, 0 for none yet. Raises StoreError for a foreign or newer one."""
        cursor = _cursor(connection)
        exists, tables, mark, encoding = cursor.execute(_LOOK, (self.address.schema,)).fetchone()
        place = place_of(self.address)
        if not exists or not tables:
            if encoding != "UTF8":
                raise StoreError(
                    f"The {place} can't hold a state: its encoding is {encoding}.",
                    hint="Make a database whose encoding is UTF8: createdb --encoding=UTF8 --template=template0 NAME",
                )
            return 0
        if mark != MARK:
            raise StoreError(
                f"The {place} holds tables of another program, not a Partita state; they were left untouched.",
                hint="Name another schema in the address: ?schema=partita",
            )
        text, state_id = cursor.execute(_READ_META).fetchone()
        version = int(text)
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"The state in the {place} was written by a newer Partita: its schema version is {version}, "
                f"this Partita reads up to version {SCHEMA_VERSION}. It was left untouched.",
                hint="Upgrade: pip install --upgrade partita",
            )
        if version == SCHEMA_VERSION:
            if self._state_id is None:
                self._state_id = state_id
            self._prepared = True
        return version

    def _migrate(self, connection: psycopg.Connection[Any]) -> None:
        """Make the tables or bring them up to date, one process after the other."""
        with connection.transaction():
            cursor = _cursor(connection)
            cursor.execute("select pg_advisory_xact_lock($1)", (lock_key("schema", self.address),))
            # Asked again: another process may have done it while this one waited for the lock.
            version = self._look(connection)
            if not version and not cursor.execute(_LOOK, (self.address.schema,)).get[0]:
                connection.execute(f"create schema {quoted(self.address.schema)}".encode())
            for migration in MIGRATIONS:
                if migration.version > version:
                    connection.execute(migration.script.encode())
            cursor.execute(_SET_VERSION, (str(SCHEMA_VERSION),))
            cursor.execute(_SET_CREATED, (uuid.uuid4().hex,))
        self._look(connection)

    def _commit(self, connection: psycopg.Connection[Any]) -> None:
        import psycopg  # noqa: PLC0415 - heavy, and an extra

        try:
            connection.execute("commit")
        except psycopg.OperationalError as error:
            if not connection.closed:
                raise
            self._drop()
            if not self._took_place():
                raise StoreError(
                    f"The connection to the {place_of(self.address)} was lost at a commit; nothing of it was recorded.",
                    hint="Run the command again; what was recorded before is safe.",
                ) from error

    def _took_place(self) -> bool:
        """Whether the transaction whose COMMIT got no answer was committed. Raises StoreError if that can't be found out."""
        import psycopg  # noqa: PLC0415 - heavy, and an extra

        lost = self._serial
        try:
            # The next transaction of this writer: it gets the counter's row only when the lost one has ended.
            connection = self._begin_anew(self._start_looking_back)
            found = _cursor(connection).execute(_READ_SERIAL, (self._writer,)).get
            self._roll_back(connection)
        except psycopg.Error as error:
            raise StoreError(
                f"The connection to the {place_of(self.address)} was lost at a commit, and it can't be asked whether it took place: {error}",
                hint="Run the command again when the server answers: it finds out what was done.",
            ) from error
        return bool(found == lost)

    def _start_looking_back(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(_BEGIN_WRITING)
        connection.execute(_LOCK_COUNTER)

    def _roll_back(self, connection: psycopg.Connection[Any]) -> None:
        """End a transaction that is still open: a reader's, or a writer's after an error or Ctrl-C."""
        import psycopg  # noqa: PLC0415 - heavy, and an extra
        from psycopg.pq import TransactionStatus  # noqa: PLC0415

        if connection is not self._connection:
            return  # it was replaced after a lost commit
        if connection.info.transaction_status is not TransactionStatus.IDLE:
            try:
                connection.execute("rollback")
            except psycopg.OperationalError:
                # What raised first is being told; the server undoes what has no connection.
                self._drop()

    def _drop(self) -> None:
        if self._release is not None:
            self._release()
        self._connection = self._release = None


def connect(address: Address) -> psycopg.Connection[Any]:
    """A session in the address's schema, each statement its own transaction unless one is begun. Raises psycopg.Error or StoreError."""
    import psycopg  # noqa: PLC0415 - heavy, and an extra
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415
    from psycopg.types.numeric import Int8Dumper  # noqa: PLC0415

    given = conninfo_to_dict(address.conninfo)
    options: dict[str, Any] = {name: one for name, one in _CLIENT.items() if name not in given}
    connection = psycopg.connect(address.conninfo, autocommit=True, **options)
    # All integers are sent as bigint: else each mixture of sizes would be a statement of its own to the server.
    connection.adapters.register_dumper(int, Int8Dumper)
    try:
        _refuse_if_old(connection, address)
        connection.execute(_SESSION)
        connection.execute(f"set search_path to {quoted(address.schema)}".encode())
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_if_old(connection: psycopg.Connection[Any], address: Address) -> None:
    version = connection.info.server_version // 10_000
    if version < OLDEST_SERVER:
        raise StoreError(
            f"The {place_of(address)} is of PostgreSQL {version}; a state needs {OLDEST_SERVER} or later.",
            hint=f"Name a server of PostgreSQL {OLDEST_SERVER} or later in the address.",
        )


def lock_key(purpose: str, address: Address) -> int:
    """The number of an advisory lock of this database: one for each purpose and schema."""
    digest = blake2b(f"partita {purpose} {address.schema}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _cursor(connection: psycopg.Connection[Any]) -> Cursor:
    from assets_core.state.postgres_cursor import PostgresCursor  # noqa: PLC0415 - loads psycopg

    return PostgresCursor(connection)


@contextmanager
def _nothing() -> Iterator[Cursor]:
    """What a state that does not exist yet answers: an empty one, in memory."""
    from assets_core.state import sqlite_connection  # noqa: PLC0415 - loads apsw; only before the first run

    empty = sqlite_connection.Database(None, busy_timeout=timedelta(0))
    try:
        with empty.read() as cursor:
            yield cursor
    finally:
        empty.close()
