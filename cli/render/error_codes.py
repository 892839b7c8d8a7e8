"""What each error code means and what to do about it: the text behind `partita explain CODE` and `docs/errors.md`.

The class of an error, and with it the code, is decided where it is raised. A test holds this list complete, and the page equal to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """One code: whom it blames, what happened, and what helps. Markdown without headings."""

    code: str
    title: str
    meaning: str
    remedy: str


ERROR_ENTRIES: Final = (
    ErrorEntry(
        "usage",
        "The command line can't be read",
        "A command, option or argument that `partita` does not know, a value that an option does not take, or options that contradict "
        "each other. Nothing was run.",
        "The message names the nearest command or option. `partita COMMAND --help` lists what there is.",
    ),
    ErrorEntry(
        "project",
        "The project can't be found or loaded",
        "Partita looks, in this order, at `-m MODULE`, `-f FILE`, `definitions` under `[tool.partita]` in the nearest `pyproject.toml` "
        "that has that table, and for a `definitions.py` or `assets.py` in the current folder. None was there, or the table holds "
        "something it does not know, or a module has a name of Partita's own (`partitions`, `assets_core`, `io_managers`, `cli`), or "
        "it has a syntax error.",
        "Go to the project's folder, or name the module or file. `partita init DIR` makes a project that works. "
        "Rename a module that hides one of Partita's. `partita doctor` checks all of it.",
    ),
    ErrorEntry(
        "user-code",
        "Your own code raised",
        "A module of the project raised while it was imported, or the function of an asset or check raised or returned what it must not. "
        "The frames above the message are yours; Partita's own are left out.",
        "Read the last frame. When a module can't be imported, `python -c 'import MODULE'` shows the same. In a run, "
        "`partita runs logs RUN ASSET@KEY` shows what that step printed before it failed; after the fix "
        "`partita materialize` runs only what is missing.",
    ),
    ErrorEntry(
        "definition",
        "An asset is defined in a way that can't work",
        "Something that the author of the project wrote contradicts itself: two assets with one key, a parameter that is neither an asset "
        "nor a resource, a cycle, an option of the wrong type. It is found before anything runs.",
        "Each problem is listed with the asset it belongs to and what to write instead. All of them are reported together.",
    ),
    ErrorEntry(
        "partition-definition",
        "A partition definition contradicts itself",
        "An unknown time zone, a start after the end, a local time that does not exist or exists twice, a cron expression that can't be read, "
        "a static key that breaks a rule, or more than 10 million partitions.",
        "The message quotes the value and marks the offending part. Static keys are not empty, have at most 200 printable characters on one "
        "line, no white space at an end, and no two differ only by case.",
    ),
    ErrorEntry(
        "mapping",
        "No partition mapping fits two assets",
        "One asset reads another and Partita can't tell which partitions of it, for example static partitions that read time partitions; "
        "or a mapping was given that its two definitions don't fit, or one of your own raised an error or answered something that can't be.",
        'Say it: `inputs={"x": Input(x, mapping=…)}` with `All()`, `Last()`, `LastN(n)`, `Offset(n)`, `StaticMap({…})` or '
        "`PerDimension({…})`.",
    ),
    ErrorEntry(
        "space-changed",
        "An asset's partitions became incomparable with its recorded state",
        "The state was recorded for partitions of another kind, time zone, offset or cron expression than the asset has now, so that the "
        "stored partitions are not the ones of the definition any more. Moving the start or the end, or adding keys, never does this.",
        "Restore the old definition. Or give the asset a new name: its rows then go to a table of their own, and the old ones stay. Or "
        "`partita state restart ASSET`: the old rows are removed for good, and the next plan makes all partitions of the new definition.",
    ),
    ErrorEntry(
        "unknown-partition",
        "There is no such partition",
        "The key is not one of the asset's partitions: it is misspelt, outside the definition's start and end, or its time window is not over "
        "yet.",
        "The message names the nearest keys, the first and the last one, or when the partition becomes available. "
        "`partita show ASSET` prints the definition.",
    ),
    ErrorEntry(
        "range-syntax",
        "A partition range can't be read",
        "The text is no range, or it runs backwards. Ranges are `2025-01-31`, `2025-01` (a whole period), "
        "`2025-01-01...2025-01-31` (both included), `2025-01-01..<2025-02-01` (the end excluded), `latest:7`, `-7d...today`, "
        "and several of them with commas in between.",
        "The message marks where reading stopped. A reversed range is shown the right way round.",
    ),
    ErrorEntry(
        "selection",
        "An asset selection can't be read or selects nothing",
        "Selections are `orders`, `+orders` (with all it reads), `orders+` (with all that read it), `group:bronze`, `tag:team=shop`, "
        "`kind:sql`, `status:stale`, globs such as `bronze_*`, and these joined by `and`, `or`, `not` and brackets. A name that no asset has "
        "is an error, because silence would look like success.",
        "The message names the nearest assets. `partita list` shows all of them.",
    ),
    ErrorEntry(
        "plan",
        "A saved plan can't be read",
        "What was given to `materialize --plan` is no plan that this Partita can run: it is not there, cut short, the answer of another command, "
        "or of another format; or it is the plan of another project, because it is about an asset that this one does not have; or the clock "
        "says that it is still to be made. Nothing was run.",
        "The message says what it is instead. Make a new one: `partita plan … -o json > plan.json`.",
    ),
    ErrorEntry(
        "plan-moved",
        "A saved plan would not come out the same now",
        "Since the plan was made something moved that it rests on: partitions of it were run, failed or marked current, what they read changed, "
        "the code, dependencies or partitions of an asset changed or it is gone, more is stale than then in what was asked for, or the state is "
        "another one. "
        "Nothing was run. Time alone moves no plan: what became due since is not part of it. The exit code is 1.",
        "The message names what moved. Make a new plan, look at it, and run that: `partita plan … -o json > plan.json`, then "
        "`partita materialize --plan plan.json`.",
    ),
    ErrorEntry(
        "data",
        "Rows break the asset's write contract",
        "What a function returned can't be written as declared: a key column is missing, null or doubled, rows lie outside the step's "
        "partitions, or a column has a reserved name. Nothing was published; the old rows are as they were.",
        'Correct the function, or declare what you meant: other `keys`, `on_duplicate="latest"`, `Replace(out_of_range="drop")`, '
        "`Append()` for late rows.",
    ),
    ErrorEntry(
        "check-failed",
        "A blocking check did not pass",
        "The rows that a function returned break a rule of the asset's contract, or did not pass a check that was declared with "
        "`blocking=True`. They were not published; the rows that were there before are untouched.",
        'Correct the data, the rule or the check, then run `partita materialize` again. `on_violation="quarantine"` moves such rows aside.',
    ),
    ErrorEntry(
        "store",
        "The state store can't be used",
        "The state file can't be opened, read or written: the folder is read-only, the disk is full, the file is damaged or is no state file, "
        "or a newer Partita wrote it. Or, of a state in PostgreSQL: the server does not answer, does not let the user in, has no such database, "
        "was lost in the middle of a transaction, or is older than PostgreSQL 14; or the library for it is not installed. The data of your assets is not touched.",
        "The message says which. `partita doctor` checks the file. A newer state file needs the newer Partita. A damaged one can be moved "
        "away: Partita starts with an empty state, all is stale once, and the tables are written again in place. Of a server the message "
        "names database, host, port and schema, and the hint what to type; `docs/postgres.md` tells how an address is written.",
    ),
    ErrorEntry(
        "conflict",
        "Another run is to make the same partitions",
        "The command was given `--on-conflict fail`, and a run that is going on has planned some of the same partitions and not ended them. "
        "Nothing was run. The exit code is 1.",
        "Wait for the other run (`partita runs watch`), or leave the option out: then the two runs share the work.",
    ),
    ErrorEntry(
        "run-taken-over",
        "Another process took the run for dead",
        "The process of a run stood still, or was cut off from the PostgreSQL server that holds the state, for so long that the server ended its "
        "session. Another command then settled the run as crashed. When the first one woke up, the state refused what it wanted to record, and "
        "destinations refused its rows where newer ones were. The exit code is 1.",
        "Nothing needs to be put right: what had been published before counts. `partita plan` says whether something is left to do.",
    ),
    ErrorEntry(
        "io-manager",
        "A destination can't be used",
        "The database or folder that holds an asset's rows can't be read or written: permissions, disk space, or another program holds the "
        "database file.",
        "The message names the path and, where it is known, the program that holds it. Close that program or let it finish.",
    ),
    ErrorEntry(
        "query",
        "A query can't be answered",
        "The text of `partita query` is not SQL that DuckDB reads, is more than one statement or one that writes, names a table that is no "
        "asset of the project or one that was never materialized, or fails on the rows that there are.",
        "The message is DuckDB's, with the line and the place. `partita list` shows the assets, and `partita query 'describe ASSET'` the "
        "columns of one. Queries only read, and only assets: rows are changed by the functions of assets.",
    ),
    ErrorEntry(
        "executor",
        "Steps can't be carried out where the project says",
        "`executor` in `[tool.partita]` is `dask`, and: the library is not installed, no scheduler answers at the address, it has no workers, "
        "a worker can't load the project or has other code or another Partita than this machine, workers were lost, or rows were staged where "
        "they can't be read here. Nothing of a step that failed so was published.",
        "The message names the scheduler or worker, and the hint says what to type. Scheduler, workers and this machine need the same "
        "environment, the same project files, and the same paths to the data; `docs/dask.md` tells how.",
    ),
    ErrorEntry(
        "failpoint",
        "PARTITA_FAILPOINTS can't be read",
        "The environment variable that stops a run at a named place, for drills, names a place that does not exist or does not say what "
        "is to happen there. Nothing was run.",
        "Write `PLACE=kill`, `PLACE=stop` or `PLACE=error`, with `@3` for the third time that the place is passed; "
        "`docs/crash-drills.md` lists the places. Unset the variable to run as usual.",
    ),
    ErrorEntry(
        "partita-error",
        "An error without a class of its own",
        "The base of all errors; a plain one should not reach you.",
        "Report it with the text.",
    ),
    ErrorEntry(
        "internal",
        "Partita broke a law of its own",
        "An error in Partita, not in your project. The details were written to the file that the message names.",
        "Report it with that file. `PARTITA_DEBUG=1` shows the details at once. Data and state are safe: running the command again starts "
        "from what was recorded.",
    ),
)


def entry_of(code: str) -> ErrorEntry | None:
    """The entry of a code, or None.

    >>> entry_of("data").title
    "Rows break the asset's write contract"
    """
    return next((entry for entry in ERROR_ENTRIES if entry.code == code), None)


def errors_page() -> str:
    """The whole page `docs/errors.md`."""
    sections = (
        f"## {entry.code}\n\n**{entry.title}.** {entry.meaning}\n\nWhat to do: {entry.remedy}\n"
        for entry in ERROR_ENTRIES
    )
    return "\n".join([_PAGE_HEAD, *sections])


_PAGE_HEAD = """\
# Errors

Every error says what happened (`error:`), what to do next (`hint:`), and has a code, which `--json` shows and
`partita explain CODE` explains. The exit code is 2 if the command could not start on what you asked for, and 1 if it did its
work and something in it failed, or if what a saved plan rests on moved.

This page is made from `cli/render/error_codes.py`; a test holds the two equal.
"""
