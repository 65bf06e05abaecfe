"""Long lists in pages, newest first: the next page begins after the last row seen, not at a count of rows.

So rows that are added meanwhile push nothing into the next page a second time, and nothing out of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import and_, or_
from sqlmodel import col
from sqlmodel.sql.expression import SelectOfScalar

Row = TypeVar("Row")


@dataclass(frozen=True)
class Position:
    """Where a page ended: the moment (UTC) and the id of its last row."""

    at: datetime
    id: str


def newest_first(rows: SelectOfScalar[Row], at: Any, name: Any, after: Position | None, limit: int) -> SelectOfScalar[Row]:
    """At most `limit` of `rows` that follow `after`, by the columns `at` (newest first) and `name`, which tells apart."""
    moment, key = col(at), col(name)
    if after is not None:
        rows = rows.where(or_(moment < after.at, and_(moment == after.at, key < after.id)))
    return rows.order_by(moment.desc(), key.desc()).limit(limit)
