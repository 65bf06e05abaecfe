"""JSON read strictly: what is not written down to be there is refused, and nothing large is built before it was counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pytest

from forecasting.arrays import packed
from forecasting.errors import ModelFileRefused
from forecasting.strict_json import (
    Unexpected,
    block,
    dates,
    exactly,
    fields,
    items,
    number,
    parsed,
    refusing,
    row,
    rows_in,
    shown,
    step_minutes,
    text,
    unchecked_block,
    whole,
)

A_KILOBYTE, SOME = 1024, 100


def read(content: bytes | str) -> object:
    return parsed(content, most_bytes=A_KILOBYTE, most_parts=SOME)


def test_a_plain_text_is_read_as_what_it_says() -> None:
    assert read(b'{"a":[1,2.5,"b",null,true]}') == {"a": [1, 2.5, "b", None, True]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not readable as JSON"),
        (b"{", "not readable as JSON"),
        (b'{"a":1}x', "not readable as JSON"),
        (b"\xff", "not readable as JSON"),
        (b"\xef\xbb\xbf{}", "not readable as JSON"),
        ('"\ud800"', "not readable as JSON"),
        (b'{"a":1,"a":2}', "stands there twice"),
        (b'[{"b":{"a":1,"a":1}}]', "stands there twice"),
        (b"NaN", "NaN is none"),
        (b"[-Infinity]", "Infinity is none"),
        (b"[" * 90, "not readable as JSON"),
        (b" " * (A_KILOBYTE + 1), "at most 1,024"),
        (b"[" + b"1," * SOME + b"1]", "more than 100 values"),
        (b"[" * SOME + b"]" * SOME + b" ,", "more than 100 values"),
    ],
)
def test_what_is_no_bounded_plain_json_is_refused(content: bytes | str, problem: str) -> None:
    with pytest.raises(Unexpected, match=problem):
        read(content)


def test_a_number_of_too_many_digits_is_refused_before_it_costs_time() -> None:
    with pytest.raises(Unexpected, match="not readable"):
        parsed(b"9" * 100_000, most_bytes=10**6, most_parts=SOME)


def test_lists_nested_a_million_deep_are_refused_and_do_not_end_the_process() -> None:
    with pytest.raises(Unexpected, match="nested too deeply"):
        parsed(b"[" * 10**6, most_bytes=10**7, most_parts=10**7)


def test_a_refusal_names_the_file_and_the_place() -> None:
    with (
        pytest.raises(ModelFileRefused, match=r"a\.b: a whole number from 1 to 3 is expected") as refused,
        refusing("x.json"),
    ):
        whole(4, "a.b", 1, 3)
    assert refused.value.part == "x.json"


WRONG: list[Callable[[], object]] = [
    lambda: fields([], "", ()),
    lambda: fields({"a": 1}, "", ("a", "b")),
    lambda: fields({"a": 1, "c": 1}, "", ("a",), ("b",)),
    lambda: items({}, "", 0, 9),
    lambda: items([1], "", 2, 2),
    lambda: items([1], "", 0, 0),
    lambda: exactly(True, "", 1),
    lambda: exactly(1.0, "", 1),
    lambda: exactly([1], "", [1, 2]),
    lambda: text(1, "", 9),
    lambda: text("ab", "", 1),
    lambda: whole(True, "", 0, 1),
    lambda: whole(1.0, "", 0, 1),
    lambda: whole(10**5000, "", 0, 1),
    lambda: step_minutes(7, ""),
    lambda: step_minutes(90, ""),
    lambda: number(1, ""),
    lambda: number(float("inf"), ""),
    lambda: number(float("nan"), ""),
    lambda: number(1e31, ""),
    lambda: number(-0.1, "", 0.0),
    lambda: row([1.0, 2], "", 2),
    lambda: row([1.0], "", 2),
    lambda: row([1.0, float("nan")], "", 2),
    lambda: row([1.0, "1"], "", 2),
    lambda: row([0.0, -1.0], "", 2, 0.0),
    lambda: dates(["2013-01-02", "2013-01-01"], "", 0, 9),
    lambda: dates(["2013-01-01", "2013-01-01"], "", 0, 9),
    lambda: dates(["20130101"], "", 0, 9),
    lambda: dates(["2013-02-30"], "", 0, 9),
    lambda: dates(["1013-01-01"], "", 0, 9),
    lambda: dates(["2013-01-01"], "", 2, 9),
]


@pytest.mark.parametrize("read_wrong", WRONG)
def test_a_value_of_another_type_size_or_range_is_refused(read_wrong: Callable[[], object]) -> None:
    with pytest.raises(Unexpected):
        read_wrong()


def test_values_of_the_documented_form_come_back() -> None:
    assert dates(["2013-01-01", "2013-01-02"], "", 2, 2) == [date(2013, 1, 1), date(2013, 1, 2)]
    assert step_minutes(30, "") == 30
    assert row([1.0, 2.0], "", 2).tolist() == [1.0, 2.0]
    assert row([], "", 0).size == 0
    values = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(block(packed(values), "", (2, 3)), values)
    np.testing.assert_array_equal(block(packed(values, single=True), "", (2, 3), single=True), values)
    assert rows_in(packed(values), "", 2) == 2


def test_only_what_is_asked_to_hold_gaps_may_hold_them() -> None:
    gaps = packed(np.array([1.0, np.nan]))
    assert np.isnan(unchecked_block(gaps, "", (2,))[1])
    with pytest.raises(Unexpected, match="numbers from"):
        block(gaps, "", (2,))


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [3, 2]},
        {"shape": [2**40, 2**40]},
        {"shape": [2, 3.0]},
        {"shape": "23"},
        {"type": "<f4"},
        {"type": ">f8"},
        {"type": "O"},
        {"base64": "AAAA"},
        {"base64": ""},
        {"base64": 5},
        {"base64": "é" * 64},
        {"base64": "AAAA" * 15 + "=AAA"},
        {"base64": "A" * 63 + "\n"},
        {"more": 1},
    ],
)
def test_an_array_that_is_not_what_it_says_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Unexpected):
        block(packed(np.zeros((2, 3))) | change, "", (2, 3))


def test_no_array_says_that_it_has_more_rows_than_there_can_be() -> None:
    for shape in ([10**9, 1], [0, 1], [3], [True, 1], "x"):
        with pytest.raises(Unexpected):
            rows_in({"shape": shape, "type": "<f8", "base64": ""}, "", 1000)


def test_text_of_unknown_origin_is_shown_short_and_printable() -> None:
    assert shown("\x1b[2J" + "é" * 500).isprintable()
    assert len(shown("\x1b[2J" + "é" * 500)) < 50
