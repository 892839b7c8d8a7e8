"""What code and dependency versions are made of, in SQLite: kept once per part, read only to show what changed.

Functions run inside a transaction of the caller and take its cursor. Planning reads none of it; a version's text and id are in
`sql_log`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from assets_core.model.records import RecordedVersion, VersionPart
from assets_core.state.dialects import per_dialect
from assets_core.state.sql_rows import storable

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from assets_core.model.records import VersionIds, VersionParts
    from assets_core.state.dialects import Cursor

_UNDESCRIBED = per_dialect(
    sqlite="""
select value from json_each(?) where not exists (select 1 from version_part where version_id = value)""",
    postgres="""
select id from (select value::bigint as id from json_array_elements_text(?::json)) wanted
where not exists (select 1 from version_part where version_id = wanted.id)""",
)
_ADD_PART = """
insert into part (digest, kind, name, source) values (?, ?, ?, ?) on conflict do nothing"""
_ADD_VERSION_PART = """
insert into version_part (version_id, position, part_id)
select ?, ?, id from part where digest = ? and kind = ? and name = ?"""
_TEXTS = per_dialect(
    sqlite="select id, text from version where id in (select value from json_each(?)) order by id",
    postgres="""
select id, text from version where id in (select value::bigint from json_array_elements_text(?::json)) order by id""",
)
_PARTS = per_dialect(
    sqlite="""
select version_id, name, kind, digest, source from version_part join part on part.id = part_id
where version_id in (select value from json_each(?)) order by version_id, position""",
    postgres="""
select version_id, name, kind, digest, source from version_part join part on part.id = part_id
where version_id in (select value::bigint from json_array_elements_text(?::json)) order by version_id, position""",
)


def undescribed(
    cursor: Cursor, found: Mapping[str, VersionIds], assets: Container[str]
) -> set[int]:
    """Which registered versions of these assets have no parts, by id."""
    ids = [
        version_id
        for asset, versions in found.items()
        if asset in assets
        for version_id in (versions.code_id, versions.deps_id)
        if version_id
    ]
    if not ids:
        return set()
    return {version_id for (version_id,) in cursor.execute(_UNDESCRIBED, (json.dumps(ids),))}


def describe(
    cursor: Cursor, found: Mapping[str, VersionIds], parts: Mapping[str, VersionParts]
) -> None:
    """Keep the parts of the versions that have none yet; only theirs are asked for."""
    missing = undescribed(cursor, found, parts)
    described = {
        version_id: told
        for asset, versions in found.items()
        if missing & {versions.code_id, versions.deps_id}
        for version_id, told in (
            (versions.code_id, parts[asset].code),
            (versions.deps_id, parts[asset].deps),
        )
        if version_id in missing
    }
    distinct = {
        (part.digest, part.kind, storable(part.name), storable(part.source))
        for told in described.values()
        for part in told
    }
    cursor.executemany(_ADD_PART, sorted(distinct))
    cursor.executemany(
        _ADD_VERSION_PART,
        [
            (version_id, position, part.digest, part.kind, storable(part.name))
            for version_id, told in described.items()
            for position, part in enumerate(told)
        ],
    )


def read_versions(cursor: Cursor, ids: Iterable[int]) -> dict[int, RecordedVersion]:
    """The versions of these ids with their parts in order."""
    wanted = json.dumps(list(ids))
    parts: dict[int, list[VersionPart]] = {}
    for version_id, *columns in cursor.execute(_PARTS, (wanted,)):
        parts.setdefault(version_id, []).append(VersionPart(*columns))
    return {
        version_id: RecordedVersion(text, tuple(parts.get(version_id, ())))
        for version_id, text in cursor.execute(_TEXTS, (wanted,))
    }
