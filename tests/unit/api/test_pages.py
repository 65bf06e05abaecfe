from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from fastapi.exceptions import RequestValidationError

from api.pages import Page, decoded, encoded, rows_of
from pipeline.keyset import Position

POSITION = Position(datetime(2026, 1, 1, 12, 30, tzinfo=UTC), "j-0123456789abcdef")


def cursor_of(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def test_a_cursor_says_where_a_page_ended() -> None:
    assert decoded(encoded(POSITION)) == POSITION


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "????",
        "äöü",
        encoded(POSITION) + "=",
        encoded(POSITION)[:-1],
        cursor_of({}),
        cursor_of([]),
        cursor_of(["2026-01-01T12:30:00.000000+00:00"]),
        cursor_of(["2026-01-01T12:30:00.000000+00:00", "a", "b"]),
        cursor_of(["2026-01-01T12:30:00.000000+00:00", 7]),
        cursor_of(["2026-01-01T12:30:00.000000+00:00", None]),
        cursor_of(["2026-01-01T12:30:00.000000+00:00", "x" * 65]),
        cursor_of(["2026-01-01T12:30:00.000000+00:00", "a\x00"]),
        cursor_of(["2026-01-01T12:30:00.000000+00:00", ""]),
        cursor_of(["2026-01-01", "a"]),
        cursor_of(["2026-01-01T12:30:00.000000", "a"]),
        cursor_of(["2026-01-01T13:30:00.000000+01:00", "a"]),
        cursor_of(["0001-01-01T00:00:00.000000+23:59", "a"]),
        cursor_of(["yesterday", "a"]),
        cursor_of([1767268200, "a"]),
        base64.urlsafe_b64encode(b"[" * 120).decode().rstrip("="),
    ],
    ids=range(22),
)
def test_a_cursor_that_no_answer_gave_is_refused(cursor: str) -> None:
    with pytest.raises(RequestValidationError):
        decoded(cursor)


@pytest.mark.parametrize(("rows", "shown", "more"), [(0, 0, False), (3, 3, False), (4, 3, True), (9, 3, True)])
def test_a_page_knows_whether_another_follows(rows: int, shown: int, *, more: bool) -> None:
    found, follows = rows_of(Page(None, 3), lambda _after, limit: list(range(rows))[:limit])

    assert (len(found), follows) == (shown, more)
