"""`partita partitions`: the keys of dynamic partitions, which live in the state and not in the code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.commands.options import TOKEN, PartitaGroup, Settings, open_project
from cli.render.report import Report
from cli.render.text import Span, Style, Table, counted, line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.project import Project
    from partitions.definitions import DynamicPartitions, Partitions


@click.group("partitions", cls=PartitaGroup)
def command() -> None:
    """List, add and remove the keys of dynamic partitions."""


@command.command("list")
@click.argument("name", metavar="[NAME]", required=False, type=TOKEN)
@click.pass_obj
def list_keys(settings: Settings, name: str | None) -> int:
    """List keys, of one definition or of all."""
    printer = settings.printer()
    project = open_project(settings)
    found = _dynamic(project)
    chosen = found if name is None else {name: _named(found, name)}
    key_ids = project.store.key_ids()
    records = [
        {"name": each, "key": key, "id": id_}
        for each, definition in chosen.items()
        for key, id_ in key_ids.get(definition.space, {}).items()
    ]
    rows = tuple((Span(str(one["name"]), Style.BOLD), str(one["key"])) for one in records)
    blocks = [Table(("NAME", "KEY"), rows)] if rows else []
    names = ", ".join(chosen) or "none in this project"
    printer.report(
        Report(
            "partitions list",
            {"names": list(chosen), "keys": records},
            records,
            [
                *blocks,
                line(
                    Span(f"{counted(len(records), 'key')}; dynamic partitions: {names}", Style.DIM)
                ),
            ],
            columns=("name", "key", "id"),
        )
    )
    return 0


@command.command("add")
@click.argument("name", metavar="NAME", type=TOKEN)
@click.argument("keys", metavar="KEY...", nargs=-1, required=True, type=TOKEN)
@click.pass_obj
def add_keys(settings: Settings, name: str, keys: tuple[str, ...]) -> int:
    """Add keys to a dynamic definition.

    A key that is there already stays as it is. The new partitions are missing then, so the next materialize runs them.
    """
    from cli.project.location import make_state_folder  # noqa: PLC0415

    printer = settings.printer()
    project = open_project(settings)
    definition = _named(_dynamic(project), name)
    known = project.store.key_ids().get(definition.space, {})
    _judge(keys, list(known))
    added = [key for key in dict.fromkeys(keys) if key not in known]
    if added:
        make_state_folder(project.location.folder)
        project.store.intern_keys({definition.space: added})
    printer.report(_changed("partitions add", name, "added", added))
    return 0


@command.command("remove")
@click.argument("name", metavar="NAME", type=TOKEN)
@click.argument("keys", metavar="KEY...", nargs=-1, required=True, type=TOKEN)
@click.pass_obj
def remove_keys(settings: Settings, name: str, keys: tuple[str, ...]) -> int:
    """Take keys out of a dynamic definition.

    Their rows stay where they are. Adding a key again brings its state back.
    """
    from partitions.errors import UnknownPartitionError, nearest  # noqa: PLC0415

    printer = settings.printer()
    project = open_project(settings)
    definition = _named(_dynamic(project), name)
    known = project.store.key_ids().get(definition.space, {})
    for key in keys:
        if key not in known:
            near = nearest(key, known)
            raise UnknownPartitionError(
                f"{name} has no key {key!r}; nothing was removed",
                hint=f"did you mean {' or '.join(near)}?"
                if near
                else f"partita partitions list {name} shows them",
            )
    removed = list(dict.fromkeys(keys))
    project.store.remove_keys(definition.space, removed)
    printer.report(_changed("partitions remove", name, "removed", removed))
    return 0


def _dynamic(project: Project) -> dict[str, DynamicPartitions]:
    """All dynamic definitions that assets use, by name."""
    found: dict[str, DynamicPartitions] = {}
    for spec in project.resolved.graph.specs.values():
        for definition in _parts(spec.partitions):
            found[definition.name] = definition
    return found


def _parts(definition: Partitions) -> list[DynamicPartitions]:
    from partitions.definitions import DynamicPartitions  # noqa: PLC0415
    from partitions.multi import MultiPartitions  # noqa: PLC0415

    if isinstance(definition, DynamicPartitions):
        return [definition]
    if isinstance(definition, MultiPartitions):
        return [part for _, dimension in definition.dimensions for part in _parts(dimension)]
    return []


def _named(found: dict[str, DynamicPartitions], name: str) -> DynamicPartitions:
    from assets_core.model.errors import SelectionError  # noqa: PLC0415
    from partitions.errors import nearest  # noqa: PLC0415

    if name in found:
        return found[name]
    near = nearest(name, found)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif found:
        hint = f"there are {', '.join(found)}"
    else:
        hint = 'give an asset partitions=DynamicPartitions("customers")'
    raise SelectionError(f"no asset uses dynamic partitions {name!r}", hint=hint)


def _judge(keys: Sequence[str], known: Sequence[str]) -> None:
    """Refuse keys that break a rule. Raises PartitionDefinitionError; nothing was added then."""
    from partitions.definitions import key_problem  # noqa: PLC0415
    from partitions.errors import PartitionDefinitionError  # noqa: PLC0415

    folded = {key.casefold(): key for key in known}
    for key in keys:
        problem = key_problem(key)
        if problem is None and "|" in key:
            problem = "it has a | in it, which joins the keys of several dimensions"
        other = folded.setdefault(key.casefold(), key)
        if problem is None and other != key:
            problem = f"it differs from {other!r} only by case"
        if problem is not None:
            raise PartitionDefinitionError(
                f"{key!r} can't be a partition key: {problem}; nothing was added",
                hint="choose another key",
            )


def _changed(command_name: str, name: str, word: str, keys: Sequence[str]) -> Report:
    return Report(
        command_name,
        {"name": name, word: list(keys)},
        [{"name": name, "key": key, "change": word} for key in keys],
        [
            line(
                f"{word} {counted(len(keys), 'key')} of {name}{': ' if keys else ''}{', '.join(keys)}"
            )
        ],
        columns=("name", "key", "change"),
    )
