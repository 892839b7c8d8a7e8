"""Commands on a project whose state is in PostgreSQL: what they do, and what they say of a server that is not as it should be."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from assets_core.state.postgres import PostgresStore
from tests import postgres
from tests.integration.conftest import ASSETS, Answer, Shop

if TYPE_CHECKING:
    from pathlib import Path

OF_THE_ENVIRONMENT = '[tool.partita]\ndefinitions = "assets"\nstate = "${STATE}"\n'


@pytest.fixture
def shared(shop: Shop, postgres_url: str) -> Shop:
    """The shop with its state on a server."""
    shop.write("pyproject.toml", f'[tool.partita]\nstate = "{postgres_url}"\n')
    return shop


def refused(answer: Answer, *words: str) -> None:
    assert "Traceback" not in answer.err
    assert [word for word in words if word not in answer.err] == [], answer.err


@pytest.mark.slow
def test_a_project_runs_from_the_beginning_to_a_change(shared: Shop, postgres_url: str) -> None:
    assert "no state yet; the first run makes it" in shared.run("doctor").out
    assert shared.run("plan", "--json").data["to_run"] > 0
    assert postgres.execute(postgres_url, "select to_regclass('run')") == [(None,)]
    shared.run("materialize")
    assert not (shared.folder / ".partita" / "state.db").exists()
    assert not (shared.folder / ".partita" / "run.lock").exists()
    assert not (shared.folder / ".partita" / "running").exists()
    assert shared.run("plan", "--json").data["to_run"] == 0
    shared.run("status")
    assert "2025-01-03" in shared.run("explain", "revenue@2025-01-03").out
    [run] = shared.run("runs", "list", "--json").data["runs"]
    assert run["status"] == "succeeded"
    shared.run("runs", "show", run["run"])
    shared.run("state", "verify")
    shared.run("state", "compact", "--rebuild")
    shared.run("state", "restart", "prices", "--yes")
    shared.edit("assets.py", '{"total": [sum(orders', '{"total": [1 + sum(orders')
    assert "code" in shared.run("plan").out
    shared.run("mark-current", "revenue", "latest:2")
    shared.run("materialize")
    assert shared.run("plan", "--json").data["to_run"] == 0
    shared.run("state", "verify")
    told = shared.run("doctor").out
    assert f"PostgreSQL {server_version(postgres_url)}" in told
    assert "answers, and may be written" in told


def server_version(url: str) -> str:
    [(version,)] = postgres.execute(url, "show server_version")
    return str(version)


def test_a_new_project_begins_on_a_server(empty: Shop, postgres_url: str) -> None:
    empty.run("init", "shop")
    project = Shop(empty.folder / "shop")
    project.edit("pyproject.toml", "[tool.partita]", f'[tool.partita]\nstate = "{postgres_url}"')
    planned = project.run("plan", "--json").data["to_run"]
    assert project.run("materialize", "--json").data["counts"] == {"succeeded": planned}
    assert project.run("plan", "--json").data["to_run"] == 0
    fresh = project.run("status", "--json").data["assets"]
    assert sum(one["fresh"] for one in fresh) == planned


@pytest.mark.slow
def test_two_projects_share_a_server_and_know_nothing_of_each_other(
    shop: Shop, empty: Shop, postgres_server: str
) -> None:
    empty.write("assets.py", ASSETS)
    with (
        postgres.fresh_schema(postgres_server) as one,
        postgres.fresh_schema(postgres_server) as other,
    ):
        for project, url in ((shop, one), (empty, other)):
            project.write("pyproject.toml", OF_THE_ENVIRONMENT)
            project.run("materialize", "prices", env={"STATE": url})
        shop.run("materialize", "orders", env={"STATE": one})
        assert len(shop.run("runs", "list", "--json", env={"STATE": one}).data["runs"]) == 2
        assert len(empty.run("runs", "list", "--json", env={"STATE": other}).data["runs"]) == 1


def test_a_run_waits_for_maintenance_and_says_for_whom(shared: Shop, postgres_url: str) -> None:
    with PostgresStore(postgres_url) as store, store.run_locks().exclude("state restart") as lock:
        process = shared.start("materialize", "prices")
        assert process.stderr is not None
        assert (
            f"state restart (process {os.getpid()} on {socket.gethostname()})"
            in process.stderr.readline()
        )
        lock.release()
        _, told = process.communicate()
        assert process.returncode == 0, told


def test_steps_in_processes_of_their_own_are_not_told_the_password(
    shop: Shop, postgres_url: str
) -> None:
    url = postgres_url.replace("//postgres@", "//postgres:secret@")
    shop.write("pyproject.toml", f'[tool.partita]\ndefinitions = "seen"\nstate = "{url}"\n')
    shop.write(
        "seen.py",
        """
        import psutil
        from assets_core import asset

        @asset
        def command_lines() -> None:
            me = psutil.Process()
            told = [*me.cmdline(), *me.parent().cmdline()]
            assert "step_server" in " ".join(told)
            assert "secret" not in " ".join(told)
        """,
    )
    shop.run("materialize", "-j", "2")
    shop.run("plan")


def test_a_variable_that_is_not_set_is_named(shop: Shop) -> None:
    shop.write("pyproject.toml", OF_THE_ENVIRONMENT)
    refused(shop.run("materialize", code=2), "STATE", "not set", "export STATE")


def test_help_and_list_load_no_library_of_postgres(shared: Shop) -> None:
    code = "import sys; from cli.main import run\ntry: run()\nfinally: print('psycopg' in sys.modules)"
    for arguments in (["--help"], ["list"]):
        shared.run("list")
        done = shared.run_python(code, *arguments)
        assert done.out.endswith("False\n")


def test_a_server_that_does_not_answer_is_named_with_what_to_type(shop: Shop) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    url = f"postgresql://ann:secret@127.0.0.1:{port}/shop"
    shop.write("pyproject.toml", f'[tool.partita]\nstate = "{url}"\n')
    answer = shop.run("materialize", code=2)
    refused(
        answer, f"database shop at 127.0.0.1:{port}", f"pg_isready --host=127.0.0.1 --port={port}"
    )
    assert "secret" not in answer.err
    told = shop.run("doctor", code=1).out
    assert "PROBLEM" in told
    assert "secret" not in told


def test_a_database_that_does_not_exist_is_named_with_what_to_type(
    shop: Shop, postgres_server: str
) -> None:
    url = postgres.in_database(postgres_server, "nowhere")
    shop.write("pyproject.toml", f'[tool.partita]\nstate = "{url}"\n')
    refused(shop.run("materialize", code=2), "database nowhere", "createdb", "nowhere")


def test_an_address_that_can_not_be_read_is_not_quoted(shop: Shop) -> None:
    url = "postgresql://ann:se%cret@db/shop"
    shop.write("pyproject.toml", f'[tool.partita]\nstate = "{url}"\n')
    answer = shop.run("materialize", code=2)
    refused(answer, "can't be read", "percent-encoded")
    assert "cret" not in answer.err


def test_without_the_library_the_extra_is_named(shared: Shop, tmp_path: Path) -> None:
    hidden = shared.write("hidden/psycopg.py", "raise ImportError('no psycopg here')")
    path = f"{hidden.parent}:{shared.environment()['PYTHONPATH']}"
    answer = shared.run("materialize", code=2, env={"PYTHONPATH": path})
    refused(answer, "no psycopg here", "pip install 'partita[postgres]'")


def test_a_user_who_may_not_write_learns_what_to_ask_for(
    shop: Shop, postgres_server: str, postgres_url: str
) -> None:
    role = f"role_{postgres_url[-12:]}"
    postgres.execute(postgres_server, f"create role {role}")
    try:
        joint = "&" if "?" in postgres_url else "?"
        url = f"{postgres_url}{joint}options=-crole%3D{role}"
        shop.write("pyproject.toml", f'[tool.partita]\nstate = "{url}"\n')
        refused(shop.run("materialize", code=2), "permission denied", "create schema")
        told = shop.run("doctor", code=1).out
        assert f"{role} may not write there" in told
        assert "create schema" in told
    finally:
        postgres.execute(postgres_server, f"drop role {role}")


def test_a_schema_of_another_program_is_left_alone(shared: Shop, postgres_url: str) -> None:
    schema = postgres_url.rpartition("=")[2]
    postgres.execute(postgres_url, f"create schema {schema} create table meta (a int)")
    refused(shared.run("materialize", code=2), "tables of another program", "?schema=")
    assert postgres.execute(postgres_url, "select * from meta") == []


def test_a_state_of_a_newer_partita_is_left_alone(shared: Shop, postgres_url: str) -> None:
    shared.run("materialize", "prices")
    postgres.execute(postgres_url, "update meta set value = 99 where name = 'schema_version'")
    refused(shared.run("materialize", code=2), "99", "newer", "pip install --upgrade")
    assert "newer" in shared.run("doctor", code=1).out


@pytest.mark.slow
def test_a_state_moves_to_a_server_and_back(shop: Shop, postgres_url: str) -> None:
    shop.run("materialize", "+revenue", "prices")
    there = shop.run("state", "migrate", "--to", "${STATE}", env={"STATE": postgres_url})
    assert 'state = "${STATE}"' in there.out
    refused(shop.run("state", "migrate", "--to", postgres_url, code=2), "holds a state already")
    shop.write("pyproject.toml", OF_THE_ENVIRONMENT)
    state = {"STATE": postgres_url}
    assert shop.run("plan", "+revenue", "prices", "--json", env=state).data["to_run"] == 0
    shop.run("materialize", env=state)
    away = shop.run("state", "migrate", "--to", "var/state.db", env=state)
    assert "move what else is in" in away.out
    (shop.folder / "deeper").mkdir()
    beside = ("state", "migrate", "--to", "../.partita/back.db")
    back = shop.run(*beside, env=state, cwd=shop.folder / "deeper")
    assert 'state = ".partita/back.db"' in back.out
    assert "move what else" not in back.out
    shop.write("pyproject.toml", '[tool.partita]\nstate = ".partita/back.db"\n')
    assert shop.run("plan", "--json").data["to_run"] == 0
    shop.run("state", "verify")


def test_a_move_that_is_cut_off_leaves_nothing_at_the_target(
    shop: Shop, postgres_url: str
) -> None:
    shop.run("materialize", "orders")
    kill = {"PARTITA_FAILPOINTS": "state.commit=kill"}
    shop.run("state", "migrate", "--to", postgres_url, code=-9, env=kill)
    assert postgres.execute(postgres_url, "select count(*) from run") == [(0,)]
    assert shop.run("plan", "orders", "--json").data["to_run"] == 0
    shop.run("state", "verify")
    shop.run("state", "migrate", "--to", postgres_url)


@pytest.mark.parametrize(
    "place", ["state.commit=kill@5", "state.committed=kill@5", "run.published=kill@2"]
)
def test_a_run_that_is_killed_is_settled_by_the_next(shared: Shop, place: str) -> None:
    shared.run("materialize", code=-9, env={"PARTITA_FAILPOINTS": place})
    told = shared.run("materialize")
    assert "recovered" in told.err
    assert shared.run("plan", "--json").data["to_run"] == 0
    shared.run("state", "verify")
