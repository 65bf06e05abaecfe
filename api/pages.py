"""Long lists in pages: at most `limit` rows, and where the next page begins.

The cursor says where a page ended. It is opaque and holds nothing secret; one that somebody made up is refused or leads to
another place in the same list, of which the caller may read every row anyway.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from fastapi import Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from pipeline.keyset import Position
from security.keyring import utc_text

LONGEST_CURSOR = 200

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

Row = TypeVar("Row")


@dataclass(frozen=True)
class Page:
    """What was asked for: `limit` rows that follow `after`, the first ones for None."""

    after: Position | None
    limit: int


def page_asked(
    after: Annotated[
        str | None, Query(max_length=LONGEST_CURSOR, description="where the page before ended, as its answer said")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="at most so many")] = 100,
) -> Page:
    """The page that a request asks for. Raises RequestValidationError for a cursor that no answer gave."""
    return Page(None if after is None else decoded(after), limit)


PageAsked = Annotated[Page, Depends(page_asked)]


def rows_of(page: Page, read: Callable[[Position | None, int], Sequence[Row]]) -> tuple[Sequence[Row], bool]:
    """The rows of a page, and whether more follow. read: rows after a position, at most so many, in order."""
    rows = read(page.after, page.limit + 1)
    return rows[: page.limit], len(rows) > page.limit


def next_page(request: Request, response: Response, page: Page, ended: Position | None) -> str | None:
    """Path and query of the next page, in the `Link` header too; None when the list ended (`ended` is None)."""
    if ended is None:
        return None
    url = request.url.include_query_params(after=encoded(ended), limit=page.limit)
    there = f"{url.path}?{url.query}"
    response.headers["Link"] = f'<{there}>; rel="next"'
    return there


def encoded(position: Position) -> str:
    """A position as a cursor: URL-safe base64 of a JSON list."""
    return base64.urlsafe_b64encode(json.dumps([utc_text(position.at), position.id]).encode()).decode().rstrip("=")


def decoded(cursor: str) -> Position:
    """The position that a cursor says. Raises RequestValidationError for one that no answer gave."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        at, name = json.loads(text)
        position = Position(datetime.fromisoformat(at).astimezone(UTC), name)
        # Only what `encoded` writes, to the letter: one place, one cursor.
        if _ID.fullmatch(name) is None or encoded(position) != cursor:
            raise ValueError("another spelling")
    except (binascii.Error, ValueError, TypeError, RecursionError, OverflowError):
        where = {"loc": ("query", "after"), "msg": "use the cursor of an answer, or leave it out", "type": "value_error"}
        raise RequestValidationError([where]) from None
    return position
