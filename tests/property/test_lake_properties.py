"""Whatever is sent, in whatever pieces and order, and wherever a writer dies: the lake holds what was acknowledged, once."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from data.lake import appending
from tests.unit.data.small_lake import Pond, weather_rows

ROWS = weather_rows(days=3)
STEPS = ("put", "settle", "drop", "_create", "_commit")
ORDER = ["provider", "valid_at", "issued_at"]


def pieces(cuts: list[int], order: list[int]) -> list[pd.DataFrame]:
    edges = [0, *sorted(cuts), len(ROWS)]
    parts = [ROWS.iloc[low:high] for low, high in pairwise(edges)]
    return [parts[number % len(parts)] for number in order]


batches = st.builds(
    pieces, st.lists(st.integers(0, len(ROWS)), max_size=3), st.lists(st.integers(0, 3), min_size=1, max_size=6)
)


@settings(max_examples=12, deadline=None)
@given(sent=batches)
def test_rows_are_there_once_in_whatever_pieces_and_however_often_they_are_sent(sent: list[pd.DataFrame]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pond = Pond(Path(folder))
        for batch in sent:
            pond.append(batch)
        expected = pd.concat(sent).drop_duplicates().sort_values(ORDER, ignore_index=True)
        pd.testing.assert_frame_equal(pond.read()[list(expected.columns)], expected, check_dtype=False)


class Killed(BaseException):
    """As if the process ended here."""


@contextmanager
def death_after(steps: int) -> Iterator[None]:
    """Let a writer take so many of its steps, and end it at the next one."""
    left = iter(range(steps))

    def limited(step: Callable[..., object]) -> Callable[..., object]:
        def take(*given: object) -> object:
            if next(left, None) is None:
                raise Killed
            return step(*given)

        return take

    steps_of_a_writer = {name: limited(getattr(appending, name)) for name in STEPS}
    with mock.patch.multiple(appending, **steps_of_a_writer):
        yield


@settings(max_examples=15, deadline=None)
@given(sent=batches, deaths=st.lists(st.integers(0, 11), max_size=6))
def test_a_writer_that_dies_anywhere_loses_nothing_acknowledged_and_its_batch_can_be_sent_again(
    sent: list[pd.DataFrame], deaths: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pond = Pond(Path(folder))
        taken = ROWS.iloc[:0]
        for number, batch in enumerate(sent):
            if number < len(deaths):
                with death_after(deaths[number]), contextlib.suppress(Killed):
                    pond.append(batch)
                # Readable at once, whatever was left behind, and whole or not at all.
                assert len(pond.read()) in (len(taken), len(pd.concat([taken, batch]).drop_duplicates()))
            pond.append(batch)
            taken = pd.concat([taken, batch]).drop_duplicates()
            expected = taken.sort_values(ORDER, ignore_index=True)
            pd.testing.assert_frame_equal(pond.read()[list(expected.columns)], expected, check_dtype=False)
        named = set(pond.pin().files)
        assert {path.relative_to(pond.table()).as_posix() for path in pond.files()} == named
