"""JSON from a file that nobody has looked into yet, read strictly: what was not written down to be there is refused.

`parsed` bounds what the parser may build before it builds it; the others take one value apart. Each raises `Unexpected`
with the place; `refusing` turns it into the refusal of a file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np

from data.schema import Array
from forecasting.arrays import DOUBLE, SINGLE
from forecasting.errors import ModelFileRefused

# Far beyond any demand, any deviation of it and any coefficient, and products of a few of them are still numbers.
LARGEST = 1e30
STEPS_MINUTES = (5, 6, 10, 12, 15, 20, 30, 60)
FIRST_YEAR, LAST_YEAR = 1900, 2199
SHOWN_LETTERS = 40


class Unexpected(ValueError):
    """A value is not what is documented; the text says where and why."""

    def __init__(self, at: str, problem: str) -> None:
        super().__init__(f"{at or 'the whole'}: {problem}")


@contextmanager
def refusing(part: str) -> Iterator[None]:
    """Raises ModelFileRefused of the file `part` where something in it is unexpected."""
    try:
        yield
    except Unexpected as error:
        raise ModelFileRefused(str(error), part=part) from error


def parsed(content: bytes | str, *, most_bytes: int, most_parts: int, at: str = "") -> Any:
    """The value of a JSON text of bounded size, with no key twice, no NaN and no Infinity.

    most_parts: of the objects, lists and values in it, which take far more memory than their text.
    """
    if len(content) > most_bytes:
        raise Unexpected(at, f"{len(content):,} bytes, at most {most_bytes:,} are expected")
    try:
        raw = content if isinstance(content, bytes) else content.encode()
        if sum(raw.count(mark) for mark in (b",", b"[", b"{")) > most_parts:
            raise Unexpected(at, f"more than {most_parts:,} values")
        return json.loads(raw.decode(), object_pairs_hook=_without_repeats, parse_constant=_no_number)
    except RecursionError:
        raise Unexpected(at, "nested too deeply") from None
    except Unexpected:
        raise
    except ValueError as error:
        raise Unexpected(at, f"not readable as JSON: {shown(str(error))}") from error


def fields(value: object, at: str, names: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """An object with exactly these keys, and perhaps the optional ones."""
    if type(value) is not dict:
        raise Unexpected(at, "an object is expected")
    for name in names:
        if name not in value:
            raise Unexpected(at, f"{name} is missing")
    for name in value:
        if name not in names and name not in optional:
            raise Unexpected(at, f"{shown(name)} is unknown")
    return value


def items(value: object, at: str, fewest: int, most: int) -> list[Any]:
    """A list of so many values."""
    if type(value) is not list:
        raise Unexpected(at, "a list is expected")
    if not fewest <= len(value) <= most:
        expected = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise Unexpected(at, f"{len(value)} values, {expected} are expected")
    return value


def exactly(value: object, at: str, expected: object) -> None:
    """This very value, of these very types."""
    if json.dumps(value, sort_keys=True) != json.dumps(expected, sort_keys=True):
        raise Unexpected(at, f"{shown(json.dumps(value))}, {shown(json.dumps(expected))} is expected")


def text(value: object, at: str, longest: int) -> str:
    """A short text."""
    if type(value) is not str or len(value) > longest:
        raise Unexpected(at, f"a text of at most {longest} letters is expected")
    return value


def whole(value: object, at: str, lowest: int, highest: int) -> int:
    """A whole number between the two."""
    if type(value) is not int or not lowest <= value <= highest:
        raise Unexpected(at, f"a whole number from {lowest} to {highest} is expected")
    return value


def step_minutes(value: object, at: str) -> int:
    """Minutes of a step that divides an hour."""
    found = whole(value, at, STEPS_MINUTES[0], STEPS_MINUTES[-1])
    if found not in STEPS_MINUTES:
        raise Unexpected(at, "a step that divides an hour is expected")
    return found


def number(value: object, at: str, lowest: float = -LARGEST, highest: float = LARGEST) -> float:
    """A number between the two."""
    if type(value) is not float or not lowest <= value <= highest:
        raise Unexpected(at, f"a number from {lowest:g} to {highest:g} is expected")
    return value


def row(value: object, at: str, length: int, lowest: float = -LARGEST, highest: float = LARGEST) -> Array:
    """A list of so many numbers between the two."""
    found = items(value, at, length, length)
    if {type(one) for one in found} <= {float}:
        values = np.array(found, dtype=np.float64)
        # A NaN lies between nothing.
        if not values.size or (values.min() >= lowest and values.max() <= highest):
            return values
    raise Unexpected(at, f"numbers from {lowest:g} to {highest:g} are expected")


def block(
    value: object,
    at: str,
    shape: tuple[int, ...],
    lowest: float = -LARGEST,
    highest: float = LARGEST,
    *,
    single: bool = False,
) -> Array:
    """A packed array (forecasting.arrays) of this shape, of numbers between the two."""
    values = unchecked_block(value, at, shape, single=single)
    # A NaN lies between nothing.
    if values.size and not (values.min() >= lowest and values.max() <= highest):
        raise Unexpected(at, f"numbers from {lowest:g} to {highest:g} are expected")
    return values


def unchecked_block(value: object, at: str, shape: tuple[int, ...], *, single: bool = False) -> Array:
    """A packed array of this shape, of any numbers and NaN."""
    kind = SINGLE if single else DOUBLE
    content = fields(value, at, ("shape", "type", "base64"))
    exactly(content["type"], f"{at}.type", kind)
    exactly(content["shape"], f"{at}.shape", list(shape))
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
    packed = content["base64"]
    if type(packed) is not str or len(packed) != 4 * -(-size // 3):
        raise Unexpected(f"{at}.base64", f"{size:,} packed bytes are expected")
    try:
        raw = base64.b64decode(packed, validate=True)
    except ValueError as error:
        raise Unexpected(f"{at}.base64", "not base64") from error
    if len(raw) != size:
        raise Unexpected(f"{at}.base64", f"{size:,} packed bytes are expected")
    return np.frombuffer(raw, dtype=kind).reshape(shape)


def rows_in(value: object, at: str, most: int) -> int:
    """How many rows a packed array says it has, from one to `most`."""
    found = items(fields(value, at, ("shape", "type", "base64"))["shape"], f"{at}.shape", 2, 2)
    return whole(found[0], f"{at}.shape[0]", 1, most)


def dates(value: object, at: str, fewest: int, most: int) -> list[date]:
    """Dates in order, none twice."""
    found = [day(one, f"{at}[{place}]") for place, one in enumerate(items(value, at, fewest, most))]
    if any(one >= after for one, after in pairwise(found)):
        raise Unexpected(at, "dates in order are expected")
    return found


def day(value: object, at: str) -> date:
    """A date written year-month-day."""
    try:
        found = date.fromisoformat(text(value, at, 10))
    except ValueError as error:
        raise Unexpected(at, "a date is expected") from error
    if found.isoformat() != value or not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise Unexpected(at, f"a date from {FIRST_YEAR} to {LAST_YEAR} is expected")
    return found


def shown(found: str) -> str:
    """A text of unknown origin for an error: short and printable."""
    plain = ascii(found)[1:-1]
    return plain if len(plain) <= SHOWN_LETTERS else f"{plain[:SHOWN_LETTERS]}…"


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise Unexpected("an object", "a key stands there twice")
    return content


def _no_number(name: str) -> float:
    raise Unexpected("a number", f"{name} is none")
