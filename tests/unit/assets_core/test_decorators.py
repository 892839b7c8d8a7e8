"""`@asset`, `@asset_check` and `load_assets`."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import subprocess
import sys
from datetime import timedelta
from importlib import import_module, invalidate_caches
from typing import TYPE_CHECKING, Any

import pytest

from assets_core import (
    Append,
    Asset,
    AssetCheck,
    CheckResult,
    DefinitionError,
    Input,
    RetryPolicy,
    asset,
    asset_check,
    load_assets,
)
from partitions import DailyPartitions, LastN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DAYS = DailyPartitions("2025-01-01")


@asset
def bronze() -> list[int]:
    """Orders as they came.

    One row each.
    """
    return [1, 2]


@asset(name="silver/orders", partitions=DAYS, inputs={"rows": bronze}, deps=["calendar"])
def silver(rows: list[int], factor: int = 2) -> list[int]:
    return [row * factor for row in rows]


@asset_check(silver, blocking=True)
def is_positive(rows: list[int]) -> CheckResult:
    """No negative amounts."""
    return CheckResult(passed=min(rows) > 0)


def plain() -> int:
    return 3


renamed = asset(plain, name="renamed")
regions = [
    asset(functools.partial(max, region), name=f"orders_{region}") for region in ("eu", "us")
]


class Group:
    @asset
    @staticmethod
    def inside() -> int:
        return 4


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], str]]:
    """Writes modules of a package and answers its name."""
    name = f"load_{tmp_path.name}"

    def write(files: dict[str, str]) -> str:
        for path, text in {"__init__.py": "", **files}.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        invalidate_caches()
        return name

    sys.path.insert(0, str(tmp_path))
    yield write
    sys.path.remove(str(tmp_path))
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


def test_a_bare_decorator_takes_key_and_description_from_the_function() -> None:
    assert (bronze.key, bronze.kind, bronze.group) == ("bronze", "python", "default")
    assert bronze.description == "Orders as they came.\n\nOne row each."


def test_calling_an_asset_calls_the_plain_function() -> None:
    assert bronze() == [1, 2]
    assert silver(bronze(), factor=3) == [3, 6]
    assert is_positive([1]).passed


def test_an_asset_looks_like_its_function() -> None:
    assert bronze.__name__ == "bronze"
    assert bronze.__doc__ == inspect.getdoc(bronze.__wrapped__) or bronze.__doc__ is not None
    assert list(inspect.signature(silver).parameters) == ["rows", "factor"]
    assert bronze.__wrapped__ is bronze.function
    assert bronze.__module__ == __name__


def test_options_are_kept_as_values() -> None:
    found = asset(
        plain,
        partitions=DAYS,
        inputs={"week": Input(bronze, mapping=LastN(7)), "other": "other"},
        deps=[silver, "dump"],
        group="gold",
        tags={"pii": "no"},
        owners=["shop team"],
        description="x",
        write=Append(),
        partition_by={"day": "ordered_on"},
        io_manager="lake",
        retry=RetryPolicy(max_attempts=2),
        batch_size=30,
        lookback=2,
        closed_after=timedelta(hours=2),
        code_version="2",
    )
    assert found.inputs == {"week": Input(bronze, mapping=LastN(7)), "other": Input("other")}
    assert [dep.key for dep in found.deps] == ["silver/orders", "dump"]
    assert found.partition_by == (("day", "ordered_on"),)
    assert (found.owners, found.tags, found.write) == (("shop team",), {"pii": "no"}, Append())
    assert (found.batch_size, found.lookback, found.closed_after) == (30, 2, timedelta(hours=2))


def test_an_asset_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        bronze.group = "gold"  # type: ignore[misc]


def test_a_function_attribute_does_not_overwrite_an_option() -> None:
    def marked() -> None: ...

    marked.group = "from the function"  # type: ignore[attr-defined]
    assert asset(marked).group == "default"


@pytest.mark.parametrize("found", [bronze, silver, is_positive, renamed, regions[1], Group.inside])
def test_assets_and_checks_pickle_as_import_references(found: Asset | AssetCheck) -> None:
    data = pickle.dumps(found)
    assert pickle.loads(data) is found  # noqa: S301 -- our own bytes
    assert len(data) < 250
    assert copy.deepcopy(found) is found


def test_an_asset_pickles_under_spawn(package: Callable[[dict[str, str]], str]) -> None:
    name = package(
        {"assets.py": "from assets_core import asset\n@asset\ndef orders():\n    return 7\n"}
    )
    found = import_module(f"{name}.assets").orders
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer)())"
    answer = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(found),
        capture_output=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert answer.stdout == b"7\n"


def test_an_asset_that_no_name_leads_to_says_so_when_pickled() -> None:
    hidden = asset(plain, name="hidden")
    with pytest.raises(DefinitionError, match="no top-level name") as caught:
        pickle.dumps(hidden)
    assert caught.value.hint is not None
    assert "top level" in caught.value.hint


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: asset("orders"), "asset was given 'orders'"),
        (lambda: asset(lambda: 1), "has no name"),
        (lambda: asset(functools.partial(max, 1)), "has no name"),
        (lambda: asset(plain, deps="orders"), "deps='orders'"),
        (lambda: asset(plain, deps=[3]), "said to read 3"),
        (lambda: asset(plain, inputs=["orders"]), "no dictionary"),
        (lambda: asset(plain, inputs={"x": 3}), "said to read 3"),
        (lambda: asset(plain, owners="ann"), "owners='ann'"),
        (lambda: asset(plain, write=Append), "write=the class Append"),
        (lambda: asset(plain, write="append"), "write='append'"),
        (lambda: asset(plain, partition_by=3), "partition_by=3"),
        (lambda: asset_check(plain), "needs the asset to check"),
        (lambda: asset_check("orders")(3), "check was given 3"),
        (lambda: load_assets(3), "load_assets was given 3"),  # type: ignore[arg-type]
        (lambda: load_assets("no_such_module_here"), "No module named"),
        (lambda: load_assets("assets_core.no_such"), "No module named"),
    ],
)
def test_a_wrong_use_is_named_where_it_is_written(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        make()
    assert message in caught.value.message


def test_load_assets_collects_in_order_and_each_object_once() -> None:
    found = load_assets(__name__)
    assert [each.key for each in found] == [
        "bronze",
        "silver/orders",
        "silver/orders:is_positive",
        "renamed",
        "orders_eu",
        "orders_us",
    ]
    assert load_assets(sys.modules[__name__], __name__) == found


def test_load_assets_takes_a_package_with_all_its_modules(
    package: Callable[[dict[str, str]], str],
) -> None:
    head = "from assets_core import asset\n"
    name = package(
        {
            "gold.py": f"{head}from .silver import clean\n@asset\ndef report(clean): ...\n",
            "silver.py": f"{head}@asset\ndef clean(): ...\n",
            "deep/__init__.py": "",
            "deep/raw.py": f"{head}@asset\ndef dump(): ...\n",
            "__main__.py": "raise SystemExit('ran the program')\n",
        }
    )
    assert [each.key for each in load_assets(name)] == ["dump", "clean", "report"]
    assert [each.key for each in load_assets(f"{name}.silver", f"{name}.gold")] == [
        "clean",
        "report",
    ]


def test_load_assets_lets_an_error_inside_of_a_module_through(
    package: Callable[[dict[str, str]], str],
) -> None:
    name = package({"broken.py": "import no_such_dependency\n"})
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        load_assets(name)


def test_importing_and_decorating_loads_nothing_heavy() -> None:
    program = (
        "import sys, assets_core\n"
        "from assets_core import asset, asset_check, Definitions, AssetContext, Input, Merge\n"
        "from partitions import DailyPartitions\n"
        "@asset(partitions=DailyPartitions('2025-01-01'))\n"
        "def orders(): ...\n"
        "heavy = {'networkx', 'duckdb', 'pyarrow', 'pydantic', 'pandas', 'polars', 'apsw'} & set(sys.modules)\n"
        "print(sorted(heavy))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert answer.stdout.strip() == "[]"


def test_a_bare_asset_does_not_load_numpy() -> None:
    program = "import sys\nfrom assets_core import asset\n@asset\ndef orders(): ...\nprint('numpy' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert answer.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"delay": 30}, "RetryPolicy(delay=30) is not a timedelta"),
        ({"max_delay": "1h"}, "RetryPolicy(max_delay='1h') is not a timedelta"),
        ({"max_attempts": "3"}, "RetryPolicy(max_attempts='3') is not a whole number"),
        ({"max_attempts": True}, "RetryPolicy(max_attempts=True) is not a whole number"),
        ({"jitter": "a bit"}, "RetryPolicy(jitter='a bit') is a share of the pause"),
        ({"max_attempts": 0}, "the first try counts"),
    ],
)
def test_a_retry_policy_of_wrong_types_says_which(given: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        RetryPolicy(**given)
    assert told in caught.value.message
