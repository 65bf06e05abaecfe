from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import Session, SQLModel, create_engine

from api.pages import decoded, encoded
from pipeline.incidents import Incident, page, position_of

START = datetime(2026, 1, 1, tzinfo=UTC)

# Minutes at which rows came in; several in the same minute are told apart by their ids.
minutes = st.lists(st.integers(0, 20), max_size=30)


def rows_at(came_in: list[int], first: int = 0) -> Iterator[Incident]:
    for number, minute in enumerate(came_in, first):
        at = START + timedelta(minutes=minute)
        # Ids that do not follow the order in which the rows came.
        name = f"i-{(number * 7919) % 1000:03d}-{number}"
        yield Incident(incident_id=name, kind="k", subject=name, summary="", first_at=at, last_at=at, open_as=name)


@given(minutes, st.lists(st.lists(st.integers(21, 40), max_size=3), max_size=30), st.integers(1, 7))
def test_the_pages_together_are_the_whole_each_row_once_also_while_rows_are_added(
    there: list[int], added: list[list[int]], limit: int
) -> None:
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(rows_at(there))
        session.flush()
        expected = [row.incident_id for row in page(session, None, 1000)]
        seen: list[str] = []
        after, number, coming = None, len(there), iter(added)
        while rows := page(session, after, limit):
            seen += [row.incident_id for row in rows]
            after = decoded(encoded(position_of(rows[-1])))
            fresh = next(coming, [])
            session.add_all(rows_at(fresh, number))
            session.flush()
            number += len(fresh)
    engine.dispose()

    assert sorted(expected) == sorted({row.incident_id for row in rows_at(there)})
    assert seen == expected
