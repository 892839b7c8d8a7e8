"""The Dask executor keeps the contract of the port on a real scheduler and workers, and a lost worker costs a step one more start, not two."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from assets_core.execution.dask_executor import DaskExecutor, connect
from assets_core.execution.executors import Failed
from assets_core.execution.worker import Produced
from assets_core.model.errors import ExecutorError
from cli.project import Project
from cli.project.execution import _Stages, loading_of
from cli.project.location import find_location
from tests.conformance.executor_suite import ExecutorSuite
from tests.dask_cluster import Cluster
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from assets_core.authoring.definitions import Resolved
    from assets_core.execution.executors import Executor
    from assets_core.execution.process_executor import Loading
    from tests.conformance.executor_suite import Stage

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dask")]

DRASTIC = """
    import os, signal, time
    from datetime import timedelta
    from pathlib import Path

    def note() -> int:
        with open("started", "a") as file:
            file.write("x")
        return len(Path("started").read_text())

    def worker() -> int:
        # This process's parent starts steps; its parent is the worker.
        text = Path(f"/proc/{os.getppid()}/stat").read_text()
        return int(text.rpartition(")")[2].split()[1])

    @asset
    def patient() -> None:
        note()
        time.sleep(1000)

    @asset
    def interrupted_once() -> pa.Table:
        if note() == 1:
            os.kill(worker(), signal.SIGKILL)
            time.sleep(1000)
        return pa.table({"x": [1]})

    @asset
    def poison() -> None:
        note()
        os.kill(worker(), signal.SIGKILL)
        time.sleep(1000)

    @asset(timeout=timedelta(seconds=1))
    def hanging() -> None:
        time.sleep(1000)

    @asset
    def crashing() -> None:
        os.kill(os.getpid(), signal.SIGSEGV)
"""


def executor_on(
    cluster: Cluster, resolved: Resolved, loading: Loading, capacity: int | None = None
) -> DaskExecutor:
    return DaskExecutor(
        connect(cluster.address, 1),
        loading,
        _Stages(resolved),
        capacity=capacity,
        note=lambda _: None,
    )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.add_worker()
        cluster.add_worker()
        yield cluster


class TestDask(ExecutorSuite):
    project_text = ExecutorSuite.project_text + DRASTIC

    @pytest.fixture(autouse=True)
    def _on(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def make(self, resolved: Resolved, loading: Loading) -> Executor:
        return executor_on(self.cluster, resolved, loading)

    def test_a_death_is_told_with_its_cause(self, stage: Stage) -> None:
        failure = stage.failure("crashing")
        assert "ended by SIGSEGV" in failure.message
        assert failure.died

    def test_a_timeout_ends_the_step(self, stage: Stage) -> None:
        assert stage.failure("hanging") == Failed(
            "hanging: it took longer than its timeout of 1 s", "user-code", died=True
        )

    def test_cancel_ends_what_goes_on(self, stage: Stage, tmp_path: Path) -> None:
        stage.start("patient")
        wait_until((tmp_path / "started").exists, "it never started")
        stage.executor.cancel()
        (end,) = stage.wait()
        assert end.result == Failed("patient: it was cancelled", "user-code", died=True)


class TestLosses:
    """What loses workers or a scheduler has a cluster of its own."""

    @pytest.fixture
    def own(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
        with Cluster(tmp_path_factory.mktemp("own")) as cluster:
            cluster.add_worker()
            cluster.add_worker()
            yield cluster

    @pytest.fixture
    def stage(
        self, own: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Stage]:
        monkeypatch.syspath_prepend(tmp_path)
        suite = TestDask()
        suite.cluster = own
        with suite.staged(tmp_path) as stage:
            yield stage

    def test_a_step_whose_worker_is_killed_runs_again_on_another(
        self, stage: Stage, tmp_path: Path
    ) -> None:
        result = stage.run("interrupted_once").result
        assert isinstance(result, Produced)
        assert (tmp_path / "started").read_text() == "xx"

    def test_a_step_that_kills_its_workers_fails_after_the_second_and_alone(
        self, own: Cluster, stage: Stage, tmp_path: Path
    ) -> None:
        own.add_worker()
        failure = stage.failure("poison")
        assert failure.died
        assert failure.code == "executor"
        assert failure.message.startswith(
            "poison: the workers that ran it were lost, one after the other (tcp://127.0.0.1:"
        )
        own.add_worker()
        assert isinstance(stage.run("orders").result, Produced)

    def test_a_scheduler_that_goes_away_fails_its_steps_and_those_to_come(
        self, own: Cluster, stage: Stage, tmp_path: Path
    ) -> None:
        stage.start("patient")
        wait_until((tmp_path / "started").exists, "it never started")
        own.kill_scheduler()
        (end,) = stage.wait()
        assert isinstance(end.result, Failed)
        assert f"the Dask scheduler at {stage.executor._address} went away" in end.result.message
        assert "went away" in stage.failure("orders").message


class TestRefusals:
    def test_an_address_where_nothing_answers_is_named(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("assets_core.execution.dask_executor.CONNECT_SECONDS", 0.5)
        with pytest.raises(
            ExecutorError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"
        ) as raised:
            connect("tcp://127.0.0.1:1", 1)
        assert "to check: python -c" in (raised.value.hint or "")

    def test_a_worker_with_other_code_is_refused_by_the_names_that_differ(
        self, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        project = self.project(tmp_path)
        path = tmp_path / "assets.py"
        path.write_text(path.read_text().replace("[1]", "[2]"))
        with pytest.raises(ExecutorError, match=r"the Dask worker tcp://\S+ has other code of x$"):
            executor_on(cluster, project.resolved, loading_of(project))

    def test_a_worker_without_the_project_is_told_by_its_folder(
        self, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        project = self.project(tmp_path)
        loading = loading_of(project)
        elsewhere = replace(
            loading, argument=loading.argument.replace(str(tmp_path), "/not/there")
        )
        with pytest.raises(
            ExecutorError, match="can't load the project: there is no folder /not/there"
        ):
            executor_on(cluster, project.resolved, elsewhere)

    def project(self, folder: Path) -> Project:
        (folder / "assets.py").write_text(
            "from assets_core import asset\n\n@asset\ndef x() -> list[dict[str, int]]:\n    return [{'a': n} for n in [1]]\n"
        )
        sys.modules.pop("assets", None)
        project = Project(find_location(folder))
        assert project.resolved
        return project
