"""What an answer without a signature can still be held to, before a number of it is used.

    format     the documented fields, strictly typed: no text, boolean, NaN or infinity where a number belongs   (ML01)
    unit       a documented one, converted here; any other refuses the whole answer
    physics    −90 to 60 °C, or the whole answer is refused
    time       regular and growing; issued neither in the future, nor long ago, nor before the last accepted answer
    place      what was asked for

Nothing here can tell a plausible lie from the truth: that is level 3's, in `data.weather_trust`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from data.providers.http import Delivery
from data.providers.protocol import LastAnswer, ProviderAnswer
from data.schema import ISSUED_AT, PROVIDER, TEMPERATURE_C, VALID_AT, Array
from data.weather_providers import to_frame
from data.weather_trust import CLOCK_TOLERANCE, LONGEST_LOOK_BACK

Times = npt.NDArray[np.datetime64]
Model = TypeVar("Model", bound=BaseModel)

LOWEST_C, HIGHEST_C = -90.0, 60.0
# °C = value × factor + shift
CELSIUS, FAHRENHEIT, KELVIN = (1.0, 0.0), (5 / 9, -160 / 9), (1.0, -273.15)
OLDEST_ISSUE = timedelta(hours=24)
LONGEST_LOOK_AHEAD = timedelta(days=17)
# 17 days ahead and 8 back, by the hour.
MOST_VALUES = 25 * 24
# Grid cells of global models are up to about 50 km wide.
FARTHEST_DEGREES = 0.5
HOUR = np.timedelta64(1, "h")


class Documented(BaseModel):
    """Base of the formats: fields not named are let be, since services add some; those named are strict."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True, eq=False)
class Series:
    """Hourly values read from a delivery. updated_at: the issue time (UTC). valid_at: starts of hours, datetime64[us] in
    UTC. temperature_c [°C], NaN where the provider has none.
    """

    updated_at: datetime
    valid_at: Times
    temperature_c: Array


def parse(model: type[Model], delivery: Delivery) -> Model:
    """The delivery as `model`. Raises ProviderFailed (`malformed`) naming the first field that is not as documented."""
    try:
        return model.model_validate_json(delivery.payload)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "body"
        problem = f"{place}: {first['msg']}"
        raise delivery.refusal("malformed", problem, "compare the kept payload with the service's documentation") from error


def to_celsius(
    delivery: Delivery, values: Sequence[float | None], unit: str, units: Mapping[str, tuple[float, float]]
) -> Array:
    """Values [unit] in °C, NaN for None; units: the documented ones, each with its (factor, shift).

    Raises ProviderFailed: `wrong_unit`, `out_of_physics`.
    """
    if unit not in units:
        problem = f"unit {unit[:30]!r}, known are {', '.join(units)}"
        raise delivery.refusal("wrong_unit", problem, "see whether the service changed its units")
    factor, shift = units[unit]
    celsius = np.array(values, dtype=np.float64) * factor + shift
    outside = (celsius < LOWEST_C) | (celsius > HIGHEST_C)
    if outside.any():
        first = int(np.argmax(outside))
        problem = f"value {first + 1} is {celsius[first]:g} °C, outside {LOWEST_C:g} to {HIGHEST_C:g}"
        raise delivery.refusal("out_of_physics", problem, "tell the provider; see whether its units changed")
    return celsius


def require_place(delivery: Delivery, asked: tuple[float, float], answered: tuple[float, float]) -> None:
    """Both (latitude, longitude) [°]. Raises ProviderFailed (`wrong_place`) for the weather of another place."""
    turned = abs(asked[1] - answered[1]) % 360
    if abs(asked[0] - answered[0]) > FARTHEST_DEGREES or min(turned, 360 - turned) > FARTHEST_DEGREES:
        problem = f"weather of {answered[0]:g}, {answered[1]:g} instead of {asked[0]:g}, {asked[1]:g}"
        raise delivery.refusal("wrong_place", problem, "check the coordinates of the settings")


def hours(delivery: Delivery, moments: Sequence[datetime]) -> Times:
    """Aware moments as UTC datetime64[us]. Raises ProviderFailed (`malformed`) unless they are full hours and grow."""
    times = np.array([moment.astimezone(UTC).replace(tzinfo=None) for moment in moments], dtype="datetime64[us]")
    if (times != times.astype("datetime64[h]")).any():
        raise delivery.refusal("malformed", "times that are not full hours", "check what is asked for")
    if (np.diff(times) <= np.timedelta64(0)).any():
        raise delivery.refusal("malformed", "a time stands twice or out of order", "tell the provider; the payload is kept")
    return times


def require_in_order(delivery: Delivery, updated_at: datetime, last: LastAnswer | None) -> None:
    """Raises ProviderFailed: issued `from_the_future`, or `replayed`, that is before the last accepted answer was."""
    if updated_at > delivery.received_at + CLOCK_TOLERANCE:
        raise delivery.refusal("from_the_future", _said(delivery, updated_at), "check both clocks")
    if last is not None and last.url == delivery.url and updated_at < last.updated_at:
        problem = f"{_said(delivery, updated_at)}, after one issued at {last.updated_at:%Y-%m-%d %H:%M}"
        raise delivery.refusal("replayed", problem, "the last answer is kept; ask the provider if it goes on")


def _require_fresh(delivery: Delivery, updated_at: datetime) -> None:
    """Raises ProviderFailed (`stale`) for what was issued more than 24 hours ago."""
    if updated_at < delivery.received_at - OLDEST_ISSUE:
        mend = "the service or a cache before it stands still: ask the provider"
        raise delivery.refusal("stale", _said(delivery, updated_at), mend)


def _said(delivery: Delivery, updated_at: datetime) -> str:
    issued, received = (moment.astimezone(UTC) for moment in (updated_at, delivery.received_at))
    return f"issued at {issued:%Y-%m-%d %H:%M}, received at {received:%Y-%m-%d %H:%M} UTC"


def still_ahead(delivery: Delivery, series: Series) -> Series:
    """The hours that had not ended when the answer came: what is said of the others was no forecast any more."""
    ahead = series.valid_at + HOUR > _utc(delivery.received_at)
    return Series(series.updated_at, series.valid_at[ahead], series.temperature_c[ahead])


def answer(
    delivery: Delivery, read: Callable[[Delivery], Series], key_id: str | None, last: LastAnswer | None
) -> ProviderAnswer:
    """The answer that a delivery makes, once it was read and its times hold. Raises ProviderFailed: what `read` raises,
    `from_the_future`, `replayed`, `stale`, or `malformed` where it speaks of no hour that may be spoken of.
    """
    if last is not None and delivery.not_modified:
        return _unchanged(delivery, key_id, last)
    series = read(delivery)
    require_in_order(delivery, series.updated_at, last)
    _require_fresh(delivery, series.updated_at)
    outside = (series.valid_at < _utc(delivery.received_at - LONGEST_LOOK_BACK)) | (
        series.valid_at > _utc(delivery.received_at + LONGEST_LOOK_AHEAD)
    )
    if outside.any():
        # The baseline that a provider is judged by cannot be rewritten later (AML.T0020).
        problem = f"speaks of {series.valid_at[outside][0]}, outside 8 days back to 17 ahead"
        raise delivery.refusal("malformed", problem, "check what is asked for")
    known = np.isfinite(series.temperature_c)
    if not known.any():
        raise delivery.refusal("malformed", "no value for any hour asked for", "check the place, then ask the provider")
    frame = pd.DataFrame(
        {
            PROVIDER: delivery.provider,
            ISSUED_AT: pd.Timestamp(delivery.received_at).tz_convert("UTC").as_unit("us"),
            VALID_AT: pd.DatetimeIndex(series.valid_at[known]).tz_localize("UTC"),
            TEMPERATURE_C: series.temperature_c[known],
        }
    )
    return answer_of(delivery, key_id, series.updated_at, frame)


def _unchanged(delivery: Delivery, key_id: str | None, last: LastAnswer) -> ProviderAnswer:
    """The last answer still stands (304), unless it has stood for too long: whoever can answer 304 for ever could otherwise
    freeze the weather.
    """
    _require_fresh(delivery, last.updated_at)
    still = replace(delivery, etag=delivery.etag or last.etag, last_modified=delivery.last_modified or last.last_modified)
    return answer_of(still, key_id, last.updated_at, to_frame([]))


def answer_of(delivery: Delivery, key_id: str | None, updated_at: datetime, frame: pd.DataFrame) -> ProviderAnswer:
    """A delivery and what was read from it, as one answer."""
    return ProviderAnswer(
        provider=delivery.provider,
        key_id=key_id,
        received_at=delivery.received_at,
        updated_at=updated_at.astimezone(UTC),
        url=delivery.url,
        payload=delivery.payload,
        digest="" if delivery.not_modified else hashlib.sha256(delivery.payload).hexdigest(),
        etag=delivery.etag,
        last_modified=delivery.last_modified,
        not_modified=delivery.not_modified,
        frame=frame,
    )


def _utc(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
