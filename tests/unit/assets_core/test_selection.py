"""The selection language: what it selects, and how it answers mistakes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from assets_core import Replace, RetryPolicy, SelectionError
from assets_core.authoring.graph import AssetGraph
from assets_core.authoring.selection import select_assets
from assets_core.model.specs import AssetSpec, Dependency
from partitions import SINGLE, All

if TYPE_CHECKING:
    from collections.abc import Collection


def spec(key: str, *upstream: str, **options: Any) -> AssetSpec:
    given: dict[str, Any] = {
        "kind": "python",
        "description": "",
        "group": "default",
        "tags": (),
        "owners": (),
        "partitions": SINGLE,
        "write": Replace(),
        "partition_by": None,
        "io_manager": "default",
        "retry": RetryPolicy(),
        "batch_size": 1,
        "lookback": 0,
        "closed_after": timedelta(0),
        "code_version": "1",
        "deps_version": "1",
        **options,
    }
    edges = tuple(Dependency(each, each, All()) for each in upstream)
    return AssetSpec(key=key, dependencies=edges, **given)


SPECS = [
    spec("raw_orders", group="bronze", kind="shell", owners=("shop team",)),
    spec("raw_customers", group="bronze", tags=(("pii", "yes"),)),
    spec("orders", "raw_orders", group="silver", tags=(("pii", "no"), ("tier", "1"))),
    spec("customers", "raw_customers", group="silver", tags=(("pii", "yes"),)),
    spec("revenue", "orders", "customers", group="gold", kind="sql", owners=("ann", "bob")),
    spec("2", "revenue", group='it\'s "odd"'),
    spec("lost"),
]
GRAPH = AssetGraph({each.key: each for each in SPECS})


def with_status(status: str) -> Collection[str]:
    return {"stale": {"orders", "revenue", "of another project"}, "failed": set()}[status]


def select(text: str) -> str:
    return " ".join(select_assets(text, GRAPH, with_status=with_status))


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("orders", "orders"),
        (" orders ", "orders"),
        ("+orders", "raw_orders orders"),
        ("orders+", "orders revenue 2"),
        ("orders+1", "orders revenue"),
        ("1+revenue", "orders customers revenue"),
        ("0+revenue", "revenue"),
        ("2+revenue+1", "raw_orders raw_customers orders customers revenue 2"),
        ("+orders+", "raw_orders orders revenue 2"),
        ("2", "2"),
        ("2+", "2"),
        ("1+2", "revenue 2"),
        ("raw_*", "raw_orders raw_customers"),
        ("*", "raw_orders raw_customers orders customers revenue 2 lost"),
        ("*orders", "raw_orders orders"),
        ("*o*e*", "raw_orders raw_customers orders customers"),
        ("1+(revenue or orders)", "raw_orders orders customers revenue"),
        ("group:bronze+1", "raw_orders raw_customers orders customers"),
        ("group:bronze", "raw_orders raw_customers"),
        ("group:*l*", "orders customers revenue lost"),
        ("tag:pii", "raw_customers orders customers"),
        ("tag:pii=yes", "raw_customers customers"),
        ("tag:t*=1", "orders"),
        ("kind:sql", "revenue"),
        ("owner:bob", "revenue"),
        ('owner:"shop team"', "raw_orders"),
        ("owner:'shop team'", "raw_orders"),
        (r'group:"it\'s \"odd\""', "2"),
        ("status:stale", "orders revenue"),
        ("status:failed", ""),
        ("status:failed or lost", "lost"),
        ("roots()", "raw_orders raw_customers lost"),
        ("leaves()", "2 lost"),
        ("roots() and leaves()", "lost"),
        ("orders,customers", "orders customers"),
        ("customers, orders", "orders customers"),
        ("orders or customers", "orders customers"),
        ("group:silver and tag:pii=no", "orders"),
        ("not tag:pii and not group:gold", "raw_orders 2 lost"),
        ("not not lost", "lost"),
        ("orders or customers and tag:tier", "orders"),
        ("(orders or customers) and tag:tier", "orders"),
        ("orders, customers and lost", "orders"),
        ("nothing* or lost", "lost"),
        ("+orders and group:bronze", "raw_orders"),
        ("orders\n,lost", "orders lost"),
    ],
)
def test_a_selection_selects(text: str, selected: str) -> None:
    assert select(text) == selected


@pytest.mark.parametrize(
    ("text", "message", "marked", "hint"),
    [
        ("+order and lost", "there is no asset 'order'", "order", "did you mean orders"),
        ("group:brnze", "no asset has group 'brnze'", "group:brnze", "bronze"),
        ("tag:pii=maybe", "no asset has tag 'pii=maybe'", "tag:pii=maybe", "pii"),
        ("lost or grop:x", "no attribute 'grop'", "grop", "group, tag, kind, owner, status"),
        ("orders customers", "'customers' can't stand here", "customers", "`or`"),
        ("orders and", "name is missing here", "", None),
        ("orders and or lost", "name is missing here", "or", None),
        ("(orders", "this parenthesis is not closed", "(", None),
        ("orders)", "')' can't stand here", ")", None),
        ("()", "name is missing here", ")", None),
        ("branches()", "branches(…) is not known", "branches", "roots() and leaves()"),
        ("roots(orders)", "roots(…) is not known", "roots", None),
        ("group:", "the value of group: is missing", "", None),
        ("group: bronze", "the value of group: is missing", "bronze", None),
        ("+ orders", "white space can't stand after this `+`", "+", None),
        ('"orders', "a quote is not closed", '"orders', None),
        ('"raw_*"', "there is no asset 'raw_*'", '"raw_*"', None),
        (":bronze", "name is missing here", ":", None),
        ("(" * 200 + "orders" + ")" * 200, "too many parentheses", "(", None),
    ],
)
def test_a_mistake_is_marked_in_the_text(
    text: str, message: str, marked: str, hint: str | None
) -> None:
    with pytest.raises(SelectionError) as caught:
        select(text)
    first, shown, carets = caught.value.message.split("\n")
    assert message in first
    assert shown == f"  {text}"
    start, length = carets.index("^"), carets.count("^")
    assert shown[start : start + length] == marked
    assert hint is None or hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "hint"),
    [("oders*", "did you mean orders"), ("orders and lost", "there are"), ("not *", "there are")],
)
def test_a_selection_of_nothing_is_an_error(text: str, hint: str) -> None:
    with pytest.raises(SelectionError, match="selects no asset") as caught:
        select(text)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_text_is_an_error(text: str) -> None:
    with pytest.raises(SelectionError, match="the selection is empty"):
        select(text)


def test_a_status_needs_someone_who_knows_it() -> None:
    with pytest.raises(SelectionError, match="status: can't be asked for here"):
        select_assets("status:stale", GRAPH)


@pytest.mark.parametrize(
    "hostile",
    [
        "$(rm -rf x)",
        "../../etc",
        "<script>",
        "a\x1b[31mb",
        "\u202egnp.exe",
        "💥",
        "'; drop table x; --",
        "x" * 300,
    ],
)
def test_hostile_text_is_only_text(hostile: str) -> None:
    with pytest.raises(SelectionError) as caught:
        select(hostile)
    assert "\x1b" not in caught.value.message.partition("\n")[2]
    quoted = hostile.replace("\\", "\\\\").replace('"', '\\"')
    with pytest.raises(SelectionError, match="there is no asset"):
        select(f'"{quoted}"')
