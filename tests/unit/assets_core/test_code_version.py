"""What makes an asset's code version change, and what does not."""

from __future__ import annotations

import sys
import textwrap
from datetime import timedelta
from importlib import import_module, invalidate_caches, metadata
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from assets_core import Append, Asset, Definitions, Merge, RetryPolicy, asset
from assets_core.authoring.code_version import code_fingerprint
from assets_core.model.errors import DefinitionError
from io_managers import MemoryIOManager
from partitions import DailyPartitions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ORDERS = """
import typing
from typing import cast
from assets_core import asset
from shop.helpers import clean
from shop import settings

LIMIT = 3
UNUSED = 1

@asset(group="bronze")
def orders():
    "All orders."
    return clean(range(settings.SIZE), LIMIT)
"""
HELPERS = """
def clean(rows, limit):
    return [strip(row) for row in rows][:limit]

def strip(row):
    return str(row).strip()

def unused():
    return 1
"""
SETTINGS = "SIZE = 10\nOTHER = 1\n"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Callable[..., Asset]]:
    """Writes a package `shop` and imports its asset `orders`; each call is a new project, seen by nobody else."""
    numbers = count()
    before, paths = set(sys.modules), list(sys.path)

    def forget() -> None:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in {"shop", "lake"}:
                del sys.modules[name]
        sys.path[:] = paths
        invalidate_caches()

    def load(
        orders: str = ORDERS, helpers: str = HELPERS, settings: str = SETTINGS, **more: str
    ) -> Asset:
        forget()
        root = tmp_path / str(next(numbers))
        files = {
            "__init__": "",
            "assets": orders,
            "helpers": helpers,
            "settings": settings,
            **more,
        }
        for name, text in files.items():
            file = root / "shop" / f"{name.replace('__in__', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text), encoding="utf-8")
        sys.path.insert(0, str(root))
        found = import_module("shop.assets").orders
        assert isinstance(found, Asset)
        return found

    yield load
    forget()


def version(found: Asset) -> str:
    return code_fingerprint(found).version


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"All orders."', '"Every order there ever was."'),
        ("    return clean", "    # the limit is the shop's\n    return clean"),
        (
            "clean(range(settings.SIZE), LIMIT)",
            "clean(\n        range( settings.SIZE ),\n        (LIMIT),\n    )",
        ),
        ("def orders():", "def orders() -> list[str]:"),
        ("LIMIT = 3", "LIMIT: int = 3"),
        ("UNUSED = 1", "UNUSED = 2"),
        ("UNUSED = 1", "import json\nfrom os import path\nUNUSED = 1"),
        ('group="bronze"', 'group="gold", tags={"pii": "no"}, owners=["ann"], description="x"'),
        ("@asset(", "\n\n\n@asset("),
        ('@asset(group="bronze")', "@asset"),
        (
            "@asset(",
            "from assets_core import RetryPolicy\n\n@asset(retry=RetryPolicy(max_attempts=4), ",
        ),
        ("def orders():", "def orders() -> 'dict[str, list[int]]':"),
        ("    return clean", "    rows: list[int]\n    return clean"),
        ("UNUSED = 1", "UNUSED = 1\nif False:\n    from typing import Any"),
        ("from shop.helpers import clean", "from .helpers import clean"),
        ("from shop import settings", "import shop.settings as settings"),
        ("return clean", "'a remark in quotes'\n    return clean"),
        ("return clean", "import json\n    return clean"),
        ("return clean", "from json import loads, dumps\n    import os.path\n    return clean"),
        ("LIMIT)", "cast(int, LIMIT))"),
        ("LIMIT)", "typing.cast('int', LIMIT))"),
    ],
)
def test_an_edit_that_changes_nothing_keeps_the_version(
    project: Callable[..., Asset], old: str, new: str
) -> None:
    assert old in ORDERS
    before = version(project())
    assert version(project(ORDERS.replace(old, new))) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("LIMIT)", "LIMIT + 1)"),
        ("LIMIT = 3", "LIMIT = 3\nLIMIT += 1"),
        ("LIMIT = 3", "import os\nLIMIT = 3 if os.name else 4"),
        ("LIMIT = 3", "import os\nif os.name:\n    LIMIT = 3\nelse:\n    LIMIT = 4"),
        ("from shop.helpers import clean", "from shop.helpers import strip as clean"),
        ("settings.SIZE", "settings.OTHER"),
    ],
)
def test_an_edit_of_the_asset_or_a_constant_changes_the_version(
    project: Callable[..., Asset], old: str, new: str
) -> None:
    assert old in ORDERS
    before = version(project())
    assert version(project(ORDERS.replace(old, new))) != before


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ("[:limit]", "[1:limit]", True),
        (".strip()", ".lstrip()", True),
        ("return 1", "return 2", False),
        ("def strip(row):", "def strip(row: object) -> str:\n    'Without white space.'", False),
    ],
)
def test_a_helper_in_another_module_counts_if_it_is_called(
    project: Callable[..., Asset], old: str, new: str, differs: bool
) -> None:
    before = version(project())
    assert (version(project(helpers=HELPERS.replace(old, new))) != before) is differs


@pytest.mark.parametrize(
    ("settings", "differs"), [("SIZE = 11\nOTHER = 1\n", True), ("SIZE = 10\nOTHER = 2\n", False)]
)
def test_a_constant_of_another_module_counts_if_it_is_named(
    project: Callable[..., Asset], settings: str, differs: bool
) -> None:
    before = version(project())
    assert (version(project(settings=settings)) != before) is differs


def test_the_changed_part_is_named_with_its_old_and_new_source(
    project: Callable[..., Asset],
) -> None:
    old = {part.name: part for part in code_fingerprint(project()).parts}
    new_project = project(helpers=HELPERS.replace(".strip()", ".lstrip()"))
    new = {part.name: part for part in code_fingerprint(new_project).parts}
    assert {name for name in old if old[name].digest != new[name].digest} == {"shop.helpers.strip"}
    assert old["shop.helpers.strip"].source == "def strip(row):\n    return str(row).strip()"
    assert new["shop.helpers.strip"].source == "def strip(row):\n    return str(row).lstrip()"
    assert old["shop.assets.LIMIT"].kind == "constant"
    assert next(iter(new)) == "shop.assets.orders"


def test_a_helper_that_moves_to_another_module_changes_nothing(
    project: Callable[..., Asset],
) -> None:
    before = version(project())
    orders = ORDERS.replace("shop.helpers", "shop.other")
    assert version(project(orders, helpers="", other=HELPERS)) == before


def test_swapping_two_helpers_of_one_name_changes_the_version(
    project: Callable[..., Asset],
) -> None:
    orders = """
    from assets_core import asset
    from shop import one, two

    @asset
    def orders():
        return one.read() - two.read()
    """
    first, second = "def read():\n    return 1\n", "def read():\n    return 2\n"
    assert version(project(orders, one=first, two=second)) != version(
        project(orders, one=second, two=first)
    )


def test_what_an_imported_name_stands_for_counts(project: Callable[..., Asset]) -> None:
    orders = """
    from math import floor as rounded
    from assets_core import asset

    @asset
    def orders():
        return rounded(2.5)
    """
    assert version(project(orders)) != version(project(orders.replace("floor", "ceil")))


def test_re_exports_and_star_imports_are_followed(project: Callable[..., Asset]) -> None:
    orders = """
    from assets_core import asset
    from shop.lib import clean
    from shop.settings import *

    @asset
    def orders():
        return clean(range(SIZE), 3)
    """
    library = {"lib__in____init__": "from .impl import clean\nfrom . import impl\n"}
    before = version(project(orders, **library, lib__in__impl=HELPERS))
    assert before == version(project(orders, **library, lib__in__impl=HELPERS))
    edited = HELPERS.replace("[:limit]", "[::limit]")
    assert before != version(project(orders, **library, lib__in__impl=edited))
    assert before != version(
        project(orders, settings="SIZE = 9", **library, lib__in__impl=HELPERS)
    )


def test_an_import_inside_of_the_function_is_followed(project: Callable[..., Asset]) -> None:
    orders = """
    from assets_core import asset

    @asset
    def orders():
        from shop import helpers
        return helpers.clean([1], 1)
    """
    before = version(project(orders))
    assert before == version(project(orders))
    assert before != version(project(orders, helpers=HELPERS.replace(".strip", ".lstrip")))


@pytest.mark.parametrize(
    ("statement", "called"),
    [
        ("import lake.rules", "lake.rules.keep(1)"),
        ("import lake.rules as rules", "rules.keep(1)"),
        ("from lake import rules", "rules.keep(1)"),
        ("from lake.rules import keep", "keep(1)"),
        ("import lake.deep.inner", "lake.deep.inner.keep(1)"),
        ("from lake.deep import inner", "inner.keep(1)"),
    ],
)
@pytest.mark.parametrize("where", ["at the top", "in the function"])
def test_a_helper_in_a_folder_without_init_is_followed(
    project: Callable[..., Asset], statement: str, called: str, where: str
) -> None:
    top, inside = (statement, "pass") if where == "at the top" else ("", statement)
    orders = f"""
        from assets_core import asset
        {top}

        @asset
        def orders():
            {inside}
            return {called}
        """

    def with_helper(returned: str) -> str:
        body = f"def keep(row):\n    return {returned}\n\ndef other(row):\n    return 1\n"
        files = {"..__in__lake__in__rules": body, "..__in__lake__in__deep__in__inner": body}
        return version(project(orders, **files))

    before = with_helper("row")
    assert with_helper("row") == before
    assert with_helper("[row]") != before


def test_helpers_that_call_each_other_are_followed_once(project: Callable[..., Asset]) -> None:
    orders = """
    from assets_core import asset

    @asset
    def orders():
        return even(10)

    def even(n):
        return n == 0 or odd(n - 1)

    def odd(n):
        return n != 0 and even(n - 1)
    """
    before = version(project(orders))
    assert before != version(project(orders.replace("n != 0", "n > 0")))
    assert len(code_fingerprint(project(orders)).parts) == 4


def test_classes_count_with_their_bases_and_methods(project: Callable[..., Asset]) -> None:
    orders = """
    from dataclasses import dataclass
    from assets_core import asset

    RATE = 2

    class Base:
        def factor(self):
            return RATE

    @dataclass
    class Price(Base):
        "What it costs."
        amount: int
        currency: str = "EUR"

        def total(self) -> int:
            return self.amount * self.factor()

    @asset
    def orders():
        return Price(1).total()
    """
    before = version(project(orders))
    for old, new in [
        ("RATE = 2", "RATE = 3"),
        ("return RATE", "return -RATE"),
        ("self.amount *", "self.amount +"),
        ('"EUR"', '"USD"'),
        ("amount: int", "amount: int = 0"),
    ]:
        assert before != version(project(orders.replace(old, new))), new
    for old, new in [('"What it costs."', '"."'), ("total(self) -> int", "total(self)")]:
        assert before == version(project(orders.replace(old, new))), new


def test_decorators_of_the_project_count_and_installed_ones_do_not_hide_the_function(
    project: Callable[..., Asset],
) -> None:
    orders = """
    import functools
    from assets_core import asset

    def scaled(factor):
        def decorate(function):
            @functools.wraps(function)
            def wrapper():
                return [row * factor for row in function()]
            return wrapper
        return decorate

    @asset
    @scaled(2)
    def orders():
        return [table()]

    @functools.lru_cache(maxsize=2)
    def table():
        return 5
    """
    before = version(project(orders))
    assert before == version(project(orders))
    for old, new in [
        ("scaled(2)", "scaled(3)"),
        ("row * factor", "row + factor"),
        ("return 5", "return 6"),
    ]:
        assert before != version(project(orders.replace(old, new))), new


def test_assets_of_a_factory_differ_by_what_their_closure_holds(
    project: Callable[..., Asset],
) -> None:
    orders = """
    from assets_core import asset

    def make(region, rows):
        @asset(name="orders")
        def load():
            return [region, *rows]
        return load

    orders = make("eu", [1, 2])
    """
    before = version(project(orders))
    assert before == version(project(orders))
    assert before != version(project(orders.replace('"eu"', '"us"')))
    assert before != version(project(orders.replace("[1, 2]", "[1, 3]")))
    assert before != version(project(orders.replace("*rows", "rows")))


@pytest.mark.parametrize(
    ("made", "other"),
    [
        ("np.int64(1)", "np.int64(2)"),
        ("np.array([1, 2])", "np.array([1, 3])"),
        ("np.array([1, 2])", "np.array([1, 2], dtype=np.int8)"),
        ("np.datetime64('2025-01-01')", "np.datetime64('2025-01-02')"),
        ("pa.scalar(1)", "pa.scalar(2)"),
        ("pa.schema({'a': pa.int32()})", "pa.schema({'a': pa.int64()})"),
        ("pa.int32()", "pa.int64()"),
        ("pa.table({'a': [1]})", "pa.table({'a': [2]})"),
        ("pa.array([1])", "pa.array([2])"),
        ("deque([1])", "deque([2])"),
        ("operator.itemgetter(0)", "operator.itemgetter(1)"),
        ("itertools.count(1)", "itertools.count(2)"),
    ],
)
def test_small_values_of_libraries_in_a_closure_count(
    project: Callable[..., Asset], made: str, other: str
) -> None:
    orders = f"""
    import itertools
    import operator
    from collections import deque
    import numpy as np
    import pyarrow as pa
    from assets_core import asset

    def make(held):
        @asset
        def orders():
            return held
        return orders

    VALUES = [{made}, {other}]
    orders = make(VALUES[0])
    """
    before = version(project(orders))
    assert version(project(orders)) == before
    assert version(project(orders.replace("VALUES[0]", "VALUES[1]"))) != before


def test_defaults_lambdas_partials_and_methods_count(project: Callable[..., Asset]) -> None:
    orders = """
    import functools
    from assets_core import asset

    class Shop:
        def __init__(self, name):
            self.name = name

        def load(self):
            return [self.name]

    def read(table, limit):
        return [table, limit]

    def make(region):
        def load(region=region, scale=lambda row: row * 2):
            return scale(region)
        return load

    orders = asset(SOURCE, name="orders")
    """
    sources = [
        ('Shop("a").load', [('"a"', '"b"'), ("[self.name]", "self.name")]),
        (
            'functools.partial(read, "t", limit=3)',
            [('"t"', '"u"'), ("limit=3", "limit=4"), ("[table, limit]", "[limit]")],
        ),
        ('make("eu")', [('"eu"', '"us"'), ("row * 2", "row * 3")]),
        ("lambda: read(1, 2)", [("read(1, 2)", "read(1, 3)"), ("[table, limit]", "[limit]")]),
    ]
    for source, edits in sources:
        text = orders.replace("SOURCE", source)
        before = version(project(text))
        assert before == version(project(text)), source
        for old, new in edits:
            assert before != version(project(text.replace(old, new))), (source, new)


def test_an_asset_named_in_the_body_is_followed_but_not_one_that_is_only_a_parameter(
    project: Callable[..., Asset],
) -> None:
    orders = """
    from assets_core import asset

    @asset
    def upstream():
        return 1

    @asset
    def orders(upstream):
        return upstream + BODY
    """
    alone = orders.replace("BODY", "1")
    assert version(project(alone)) == version(project(alone.replace("return 1", "return 2")))
    calls = orders.replace("BODY", "again()") + "\n\n    again = upstream\n"
    assert version(project(calls)) != version(project(calls.replace("return 1", "return 2")))


def test_a_module_constant_that_is_changed_in_place_counts(project: Callable[..., Asset]) -> None:
    orders = """
    from assets_core import asset

    LIMITS = {"a": 1}
    LIMITS["b"] = 2
    LIMITS.update(c=3)

    @asset
    def orders():
        return LIMITS
    """
    before = version(project(orders))
    assert before != version(project(orders.replace("= 2", "= 3")))
    assert before != version(project(orders.replace("c=3", "c=4")))


FAST_OR_SLOW = """
FAST = True
if FAST:
    from shop.helpers import fast as clean
else:
    from shop.helpers import slow as clean
"""
DEFINED_BY_CASE = """
FAST = True
if FAST:
    def clean():
        return 1
    def other():
        return 5
else:
    def clean():
        return 2
"""
FALLBACK = """
try:
    from shop.fast import clean
except ImportError:
    from shop.slow import clean
"""
LOCAL_FALLBACK = """
def clean():
    try:
        from shop.fast import clean
    except ImportError:
        from shop.slow import clean
    return clean()
"""
HIDDEN = """
from shop.fast import clean as made

def clean():
    def inner():
        from shop.slow import clean as made
        return made()
    return made() + inner()
"""
DISPATCHED = """
import functools

@functools.singledispatch
def clean(value=0):
    return 1

@clean.register
def _(value: int):
    return 2
"""
REGISTERED = """
class Registry(dict):
    def add(self, function):
        self[function.__name__] = function
        return function

rules = Registry()

@rules.add
def positive(row):
    return row > 0

def clean():
    return rules
"""
FILLED = """
LIMITS = {}

def fill(limits):
    limits["a"] = 1

fill(LIMITS)

def clean():
    return LIMITS
"""
GLOBAL = """
LIMIT = 1

def reset():
    global LIMIT
    LIMIT = 2

reset()

def clean():
    return LIMIT
"""
CHANGED = """
from shop.settings import LIMITS
LIMITS.update(a=2)
LIMITS.setdefault("b", []).append(3)
LIMITS["c"] = 4
del LIMITS["c"]
_ = LIMITS.pop("b")
setattr(LIMITS, "d", 5)

def clean():
    return LIMITS
"""


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("X = 3\nX = X + 1\nX = X * 2\n", "X = X + 1\nX = X * 2", "X = X * 2\nX = X + 1"),
        ("X = 1\nX = 2\n", "X = 1\nX = 2", "X = 2\nX = 1"),
        ("X = []\nX.append(1)\nX.append(2)\n", "1)\nX.append(2", "2)\nX.append(1"),
        (
            "def clean():\n    return 1\ndef clean():\n    return 2\n",
            "1\ndef clean():\n    return 2",
            "2\ndef clean():\n    return 1",
        ),
        (
            "from shop.fast import clean\nfrom shop.slow import clean\n",
            "fast import clean\nfrom shop.slow",
            "slow import clean\nfrom shop.fast",
        ),
        (FAST_OR_SLOW, "FAST = True", "FAST = False"),
        (FAST_OR_SLOW, "if FAST", "if not FAST"),
        (FAST_OR_SLOW, "fast as clean\nelse:\n    from shop.helpers import slow", "slow as clean\nelse:\n    from shop.helpers import fast"),
        (DEFINED_BY_CASE, "FAST = True", "FAST = False"),
        (DEFINED_BY_CASE, "return 2", "return 3"),
        (DEFINED_BY_CASE, "if FAST", "for _ in [FAST]"),
        (FALLBACK, "shop.fast import clean\nexcept ImportError:\n    from shop.slow", "shop.slow import clean\nexcept ImportError:\n    from shop.fast"),
        (FALLBACK, "ImportError", "Exception"),
        (DISPATCHED, "return 2", "return 22"),
        (REGISTERED, "row > 0", "row > 1"),
        (FILLED, '"a"] = 1', '"a"] = 2'),
        (FILLED, "fill(LIMITS)\n\n", ""),
        (GLOBAL, "LIMIT = 2", "LIMIT = 3"),
        (CHANGED, "a=2", "a=3"),
        (CHANGED, "append(3)", "append(4)"),
        (CHANGED, 'del LIMITS["c"]', "pass"),
        (CHANGED, "pop(", "get("),
        (CHANGED, ", 5)", ", 6)"),
    ],
)  # fmt: skip
def test_what_binds_or_changes_a_name_counts_in_its_order_and_under_its_conditions(
    project: Callable[..., Asset], text: str, old: str, new: str
) -> None:
    assert old in text
    used = "X" if text.startswith("X") else "clean"
    body = f"from assets_core import asset\n{text}\n@asset\ndef orders():\n    return {used}\n"
    more = {
        "helpers": "def fast():\n    return 1\ndef slow():\n    return 2\n",
        "fast": "def clean():\n    return 1\n",
        "slow": "def clean():\n    return 2\n",
        "settings": "class Limits(dict):\n    pass\nLIMITS = Limits()\n",
    }
    edited = body.replace(old, new)
    assert version(project(body, **more)) != version(project(edited, **more))
    assert version(project(body, **more)) == version(project(body + "\nOTHER = 1\n", **more))


@pytest.mark.parametrize("text", [LOCAL_FALLBACK, HIDDEN], ids=["fallback", "hidden"])
@pytest.mark.parametrize("edited", ["fast", "slow"])
def test_each_import_inside_of_a_function_is_followed_where_it_holds(
    project: Callable[..., Asset], text: str, edited: str
) -> None:
    body = f"from assets_core import asset\n{text}\n@asset\ndef orders():\n    return clean()\n"
    more = {
        "fast": "def clean():\n    return 1\n",
        "slow": "def clean():\n    return 2\n",
    }
    before = version(project(body, **more))
    more[edited] = "def clean():\n    return 3\n"
    assert version(project(body, **more)) != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return 5", "return 6"),
        ("    def other", "    OTHER = 1\n    def other"),
        ("FAST = True", "FAST = True\nprint(FAST)"),
    ],
)
def test_what_stands_beside_a_name_in_one_block_does_not_count(
    project: Callable[..., Asset], old: str, new: str
) -> None:
    body = f"from assets_core import asset\n{DEFINED_BY_CASE}\n@asset\ndef orders():\n    return clean\n"
    assert old in body
    assert version(project(body)) == version(project(body.replace(old, new)))


def test_logging_setup_of_an_imported_module_does_not_count(project: Callable[..., Asset]) -> None:
    orders = """
    import logging
    from assets_core import asset

    logging.captureWarnings(False)

    @asset
    def orders():
        logging.getLogger("shop").info("x")
    """
    assert version(project(orders)) == version(
        project(orders.replace("logging.captureWarnings(False)", ""))
    )


def test_a_value_that_is_computed_at_import_is_compared_as_written(
    project: Callable[..., Asset],
) -> None:
    orders = """
    import time
    from assets_core import asset

    STARTED = time.time_ns()

    @asset
    def orders():
        return STARTED
    """
    assert version(project(orders)) == version(project(orders))


def test_options_that_change_data_count_and_others_do_not() -> None:
    def orders() -> None: ...

    plain = version(asset(orders))
    assert version(asset(orders, retry=RetryPolicy(max_attempts=3), batch_size=1)) == plain
    assert version(asset(orders, io_manager="lake")) == plain
    assert version(asset(orders, deps=["other"], name="renamed", description="x")) == plain
    assert version(asset(orders, owners=["ann"], tags={"a": "b"}, group="gold")) == plain
    days = DailyPartitions("2025-01-01")
    late = timedelta(hours=2)
    assert version(asset(orders, partitions=days, lookback=2, closed_after=late)) == plain
    assert version(asset(orders, write=Append())) != plain
    assert version(asset(orders, write=Merge(keys=["a"]))) != version(
        asset(orders, write=Merge(keys=["b"]))
    )
    assert version(asset(orders, partition_by="day")) != plain


def test_config_values_count() -> None:
    @asset
    def orders() -> None: ...

    assert code_fingerprint(orders, {"limit": 1}) == code_fingerprint(orders, {"limit": 1})
    assert (
        code_fingerprint(orders, {"limit": 1}).version
        != code_fingerprint(orders, {"limit": 2}).version
    )


def test_a_declared_version_replaces_everything_else() -> None:
    def one() -> int:
        return 1

    def two() -> int:
        return 2

    first = code_fingerprint(asset(one, code_version="7", write=Append()))
    assert first == code_fingerprint(asset(two, code_version="7"))
    assert first.version == "declared:7"
    assert first.version != version(asset(one, code_version="8"))


def test_versions_of_packages_count_if_they_are_depended_on() -> None:
    def orders() -> None: ...

    found = code_fingerprint(asset(orders, code_depends=["PyArrow", "pyarrow", "duckdb"]))
    packages = [part for part in found.parts if part.kind == "package"]
    assert [(part.name, part.source) for part in packages] == [
        ("duckdb", f"duckdb {metadata.version('duckdb')}"),
        ("pyarrow", f"pyarrow {metadata.version('pyarrow')}"),
    ]
    assert found.version != version(asset(orders, code_depends=["duckdb"]))
    assert found.version == version(asset(orders, code_depends=["duckdb", "pyarrow"]))
    assert version(asset(orders, code_depends=["duckdb"])) != version(asset(orders))


def test_packages_count_beside_a_declared_version() -> None:
    def orders() -> None: ...

    found = code_fingerprint(asset(orders, code_version="7", code_depends=["duckdb"]))
    assert found.version == f"declared:7 with duckdb {metadata.version('duckdb')}"
    assert [part.kind for part in found.parts] == ["declared", "package"]


def test_what_code_depends_may_hold() -> None:
    def orders() -> None: ...

    with pytest.raises(DefinitionError, match=r"write code_depends=\[…\]|which is no list"):
        asset(orders, code_depends="pandas")
    with pytest.raises(DefinitionError) as caught:
        Definitions([asset(orders, code_depends=["", 3, "no-such-package"])]).resolve(  # type: ignore[list-item]
            default_io_manager=MemoryIOManager()
        )
    told = caught.value.message
    assert "has a package in code_depends that is '', not a text" in told
    assert "has a package in code_depends that is 3, not a text" in told
    assert "has 'no-such-package' in code_depends: no package" in told


def test_code_without_source_is_compared_by_its_bytecode() -> None:
    def load(text: str) -> Asset:
        namespace: dict[str, Any] = {"__name__": "__main__", "asset": asset}
        exec(compile(textwrap.dedent(text), "<console>", "exec"), namespace)  # noqa: S102 -- as a console would
        found = namespace["orders"]
        assert isinstance(found, Asset)
        return found

    text = """
    LIMIT = 3
    def helper(n):
        return n + LIMIT
    @asset
    def orders():
        "All orders."
        return helper(1)
    """
    before = version(load(text))
    assert before == version(load(text))
    assert before == version(load(text.replace("All orders.", "Every order.")))
    for old, new in [
        ("LIMIT = 3", "LIMIT = 4"),
        ("n + LIMIT", "n - LIMIT"),
        ("helper(1)", "helper(2)"),
    ]:
        assert before != version(load(text.replace(old, new))), new


def test_the_version_is_the_same_in_another_process_and_under_another_name(
    project: Callable[..., Asset], tmp_path: Path
) -> None:
    import subprocess

    before = version(project())
    (tmp_path / "0" / "shop" / "assets.py").rename(tmp_path / "0" / "run_me.py")
    with (tmp_path / "0" / "run_me.py").open("a", encoding="utf-8") as file:
        file.write(
            "\nfrom assets_core.authoring.code_version import code_fingerprint"
            "\nprint(code_fingerprint(orders).version)\n"
        )
    answer = subprocess.run(
        [sys.executable, str(tmp_path / "0" / "run_me.py")],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "7"},
    )
    assert answer.stdout.strip() == before


def test_the_options_of_a_decorator_made_from_asset_do_not_count(
    project: Callable[..., Asset],
) -> None:
    orders = """
    import functools
    from assets_core import RetryPolicy, asset

    hourly = functools.partial(asset, group="hourly", retry=RetryPolicy(max_attempts=2))

    @hourly(tags={"a": "b"})
    def orders():
        return 1
    """
    before = version(project(orders))
    for old, new in [('"b"', '"c"'), ("max_attempts=2", "max_attempts=3")]:
        assert before == version(project(orders.replace(old, new))), new
    assert before != version(project(orders.replace("return 1", "return 2")))


def test_a_function_behind_an_object_of_a_library_is_found_by_its_name(
    project: Callable[..., Asset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "curry_for_this_test.py").write_text(
        "class Curry:\n"
        "    def __init__(self, function):\n"
        "        self.hidden = function\n"
        "        for name in ('__name__', '__qualname__', '__module__'):\n"
        "            setattr(self, name, getattr(function, name))\n"
        "    def __call__(self):\n"
        "        return self.hidden()\n",
        encoding="utf-8",
    )
    with monkeypatch.context() as path:
        path.syspath_prepend(str(library))
        monkeypatch.setitem(
            sys.modules, "curry_for_this_test", import_module("curry_for_this_test")
        )
    orders = """
    from curry_for_this_test import Curry
    from assets_core import asset

    @asset
    @Curry
    def orders():
        return 1
    """
    before = version(project(orders))
    assert before == version(project(orders))
    assert before != version(project(orders.replace("return 1", "return 2")))


def test_the_version_does_not_depend_on_which_asset_was_looked_at_first(
    project: Callable[..., Asset],
) -> None:
    from assets_core.authoring.sources import SourceFiles

    orders = """
    import functools
    from assets_core import asset

    mine = functools.partial(asset, group="x")

    @mine()
    def orders():
        return 1

    @mine()
    def report():
        return orders()
    """
    found = project(orders)
    report = sys.modules["shop.assets"].report
    files = SourceFiles()
    code_fingerprint(report, files=files)
    assert code_fingerprint(found, files=files).version == version(found)


def test_a_project_that_is_installed_has_the_same_version(
    project: Callable[..., Asset], tmp_path: Path
) -> None:
    import shutil
    import subprocess

    before = version(project())
    installed = tmp_path / "lib" / "site-packages"
    shutil.copytree(tmp_path / "0" / "shop", installed / "shop")
    program = (
        "from shop.assets import orders\n"
        "from assets_core.authoring.code_version import code_fingerprint\n"
        "print(code_fingerprint(orders).version)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join([str(installed), *sys.path[1:]])},
    )
    assert answer.stdout.strip() == before
