"""The tables of the SQLite state file, as numbered migrations. Applying them lives in `sqlite_connection`.

Migrations are only ever added: an older file is brought up to date when it is next opened, a newer one is refused. Each is one
script of constant SQL and runs, with the new version number, in one transaction.

Instants are INTEGER microseconds since 1970-01-01T00:00:00Z. Partition ids of a step are text, see `sql_rows.ids_to_text`.
"""

from __future__ import annotations

from dataclasses import dataclass

APPLICATION_ID = 0x50415254
"""Marks the file as Partita's ("PART") in SQLite's header, so that another program's database is never written to."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema's history: what it is for, and its SQL script.

    >>> MIGRATIONS[0].version, MIGRATIONS[0].intent
    (1, 'log of materializations, runs and their steps')
    """

    version: int
    intent: str
    script: str


_LOG_AND_RUNS = """
-- What is true of the file as a whole: schema_version, created_at, and state_id, which no other state has.
create table meta (
    name  text primary key,
    value text not null
) strict, without rowid;

-- One row, advanced inside the committing transaction: so the order of seq is the order of commits. `epoch` numbers claims and
-- steps, is never given out twice, and starts at the microsecond of the file's creation: a destination refuses epochs that are not
-- above those it has seen, so a state that was deleted and made anew must not begin below its predecessor.
create table seq_counter (
    id    integer primary key check (id = 1),
    seq   integer not null,
    epoch integer not null
) strict;
insert into seq_counter values (1, 0, cast(unixepoch('subsec') * 1000000 as integer));

-- An asset in one partition space: ids of two spaces are not comparable, so a changed space starts without state and the old
-- rows stay readable under the old one.
create table asset (
    id    integer primary key,
    key   text not null,
    space text not null,
    unique (key, space)
) strict;

-- Ids of static and dynamic partition keys. A row is never deleted: an id means its key for ever.
create table partition_key (
    space   text not null,
    id      integer not null,
    key     text not null,
    removed integer not null default 0 check (removed in (0, 1)),
    primary key (space, id),
    unique (space, key)
) strict, without rowid;

-- Texts of code and dependency versions; the log refers to them by id.
create table version (
    id       integer primary key,
    asset_id integer not null references asset,
    kind     text not null check (kind in ('code', 'deps')),
    text     text not null,
    unique (asset_id, kind, text)
) strict;

-- `plan` comes last: it may be megabytes, and reading the other columns must not walk through it.
create table run (
    number     integer primary key,
    id         text not null unique,
    kind       text not null,
    selection  text not null,
    partitions text not null,
    status     text not null,
    started_at integer not null,
    ended_at   integer,
    process_id integer not null,
    plan       text not null
) strict;
create index run_running on run (status) where status = 'running';

-- `id` is the epoch of the first claim, or a number from the same counter for a step that was never claimed: ids grow and are
-- not used again even if old runs are deleted one day. `asset_id` and the versions are null for steps that were never claimed.
create table step (
    id         integer primary key,
    run        integer not null references run,
    asset      text not null,
    asset_id   integer references asset,
    partitions text not null check (partitions <> ''),
    status     text not null,
    attempt    integer not null,
    epoch      integer not null,
    token      text,
    read_seq   integer not null,
    code_id    integer references version,
    deps_id    integer references version,
    started_at integer not null,
    ended_at   integer,
    rows       integer,
    message    text not null default '',
    traceback  text not null default ''
) strict;
create index step_by_run on step (run);
create index step_running on step (run) where status = 'running';
create unique index step_by_token on step (token) where token is not null;

create table attempt (
    id         integer primary key,
    step_id    integer not null references step,
    attempt    integer not null,
    started_at integer not null,
    ended_at   integer not null,
    message    text not null,
    traceback  text not null,
    unique (step_id, attempt)
) strict;

create table check_result (
    id         integer primary key,
    step_id    integer not null references step,
    check_name text not null,
    asset      text not null,
    blocking   integer not null check (blocking in (0, 1)),
    passed     integer not null check (passed in (0, 1)),
    message    text not null,
    metadata   text not null
) strict;
create index check_result_by_step on check_result (step_id);

-- The truth: append-only. kind 0 = failure, 1 = success, 2 = mark (a success accepted as current; data untouched).
-- rows, bytes, data_version, schema_hash and token are null where nothing was published; data_seq is 0 for failures,
-- or the row's own seq if rows of the failed attempt may be visible.
create table materialization (
    seq          integer primary key,
    asset_id     integer not null references asset,
    partition_id integer not null,
    kind         integer not null check (kind in (0, 1, 2)),
    read_seq     integer not null,
    code_id      integer not null references version,
    deps_id      integer not null references version,
    data_seq     integer not null,
    data_version text,
    rows         integer,
    bytes        integer,
    schema_hash  text,
    step_id      integer not null references step,
    token        text,
    at           integer not null
) strict;
create index materialization_by_partition on materialization (asset_id, partition_id, seq);
"""

_CHUNKS = """
-- Columns of partition state, a cache of the log up to compaction.seq: what `sql_chunks` describes. A chunk holds the asset's
-- partitions from first_id up to the first id of its next chunk; frame and residual are the bytes of `chunk_codec`.
create table state_chunk (
    asset_id integer not null references asset,
    first_id integer not null,
    count    integer not null check (count > 0),
    frame    blob not null,
    residual blob not null,
    primary key (asset_id, first_id)
) strict, without rowid;

-- One row. `version` counts the changes of chunks: what was prepared from one version is written only onto the same.
create table compaction (
    id      integer primary key check (id = 1),
    seq     integer not null,
    version integer not null,
    at      integer
) strict;
insert into compaction values (1, 0, 0, null);
"""

_HORIZONS_AND_CONSUMPTION = """
-- Which windows had closed when the step was claimed: `StepClaim.horizons` as text, one number per partition; empty: all settled.
alter table step add column horizons text not null default '';

-- The partition's horizon, and a fingerprint of the data versions it was made from (null: not asked for, or not known).
alter table materialization add column horizon integer not null default -1;
alter table materialization add column consumed text;

-- Chunks have a column more; they are made anew from the log.
delete from state_chunk;
update compaction set seq = 0, version = version + 1, at = null;
"""

_RESTARTS = """
-- What was recorded of an asset before its state began anew keeps its rows, but is nobody's state any more: restarted_seq is then the
-- seq at which that happened, and the space has an end that no partition definition gives it, so that (key, space) is free again.
alter table asset add column restarted_seq integer;
alter table asset add column restarted_at integer;
"""

_VERSION_PARTS = """
-- What versions are made of: functions, constants, edges, each with its text. A part stands once for all versions that have it; a
-- version without rows in version_part was registered by somebody who did not say.
create table part (
    id     integer primary key,
    digest text not null,
    kind   text not null,
    name   text not null,
    source text not null,
    unique (digest, kind, name)
) strict;

create table version_part (
    version_id integer not null references version,
    position   integer not null,
    part_id    integer not null references part,
    primary key (version_id, position)
) strict, without rowid;
"""

_SECONDS = """
-- What a succeeded step took by itself: steps that are claimed and recorded as one group share started_at and ended_at, so their
-- difference says nothing about one of them. Null where nobody measured: by older versions, and for a step that was recovered.
alter table step add column seconds real;
create index step_measured on step (asset_id) where seconds is not null;
"""

_POOLS = """
-- A running step of a pool has one of its slots. A run that was refused one waits for its turn, in the order of the numbers; `passed`
-- counts how often others were refused since it last asked.
alter table step add column pool text;
create index step_in_pool on step (pool) where status = 'running' and pool is not null;
create table pool_turn (
    number integer primary key,
    pool   text not null,
    run    integer not null references run,
    passed integer not null,
    unique (pool, run)
) strict;
"""

_PARTITION_CHECKS = """
-- Which partition an outcome is about: null for all of the step's together.
alter table check_result add column partition_id integer;

-- What each check said last of each partition. step_id is null if rows that were there already were looked at again.
create table partition_check (
    asset_id     integer not null references asset,
    partition_id integer not null,
    check_name   text not null,
    blocking     integer not null check (blocking in (0, 1)),
    passed       integer not null check (passed in (0, 1)),
    message      text not null,
    metadata     text not null,
    step_id      integer references step,
    at           integer not null,
    primary key (asset_id, partition_id, check_name)
) strict, without rowid;
"""

_KEY_CHANGES = """
-- When a dynamic key was last removed, or came back with what is recorded of it: what read across the keys has to know. 0: never.
alter table partition_key add column changed_seq integer not null default 0;
"""

MIGRATIONS = (
    Migration(1, "log of materializations, runs and their steps", _LOG_AND_RUNS),
    Migration(2, "chunks of columns, so that loading state does not walk the log", _CHUNKS),
    Migration(3, "how late and from what a partition was made", _HORIZONS_AND_CONSUMPTION),
    Migration(4, "assets whose state began anew", _RESTARTS),
    Migration(5, "what versions are made of, so that a change can be shown", _VERSION_PARTS),
    Migration(6, "seconds of a step, so that a plan can say how long it takes", _SECONDS),
    Migration(7, "slots of pools, which several runs share", _POOLS),
    Migration(8, "outcomes of checks per partition", _PARTITION_CHECKS),
    Migration(9, "when dynamic keys were removed or came back", _KEY_CHANGES),
)

SCHEMA_VERSION = MIGRATIONS[-1].version
"""What this Partita reads and writes."""
