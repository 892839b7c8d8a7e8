"""The cursor of the SQLite state file: apsw's own, with what `dialects.Cursor` asks for beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets_core.state.dialects import Row


class SqliteCursor(apsw.Cursor):
    """A cursor of a state file or of a state in memory."""

    def each(self, statement: str, bindings: Sequence[Sequence[Any]], /) -> list[Row | None]:
        """Run a statement once for each of the bindings, and answer the first row of each (None for none)."""
        return [self.execute(statement, one).fetchone() for one in bindings]
