"""What `prophet.json` must be before Prophet reads it: what `prophet.serialize` writes of our own fallback, nothing wider.

Prophet's reader sets every attribute that the text names, and later obeys it: a country's name makes it look up calendars,
an order of a season how much it allocates, a regressor's settings what it constructs. So everything that we do not vary is
held to the value we fit with, and everything that is learned to its type, its size and the other tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from data.schema import Array
from forecasting.prophet_forecaster import LONGEST_HISTORY
from forecasting.strict_json import (
    FIRST_YEAR,
    LARGEST,
    LAST_YEAR,
    Unexpected,
    exactly,
    fields,
    items,
    number,
    parsed,
    refusing,
    row,
    text,
    whole,
)

PROPHET_JSON = "prophet.json"
MOST_ROWS = int(LONGEST_HISTORY.days) * 24 + 1
MOST_BYTES = 8 * 2**20
MOST_PARTS = 500_000
MOST_HOLIDAYS = 5_000
LARGEST_SEED = 2**32 - 1
HOLIDAY = "holiday"
MOMENT_FORM = "2014-01-01T00:00:00.000"
VERSION = re.compile(r"\d{1,3}(\.\d{1,3}){1,3}")
SMALLEST = 1e-30

# As `prophet_forecaster` makes the model and Prophet fills it in.
SETTINGS: dict[str, Any] = {
    "growth": "linear",
    "n_changepoints": 0,
    "specified_changepoints": False,
    "changepoint_range": 0.8,
    "weekly_seasonality": 8,
    "daily_seasonality": 6,
    "seasonality_mode": "additive",
    "seasonality_prior_scale": 10.0,
    "changepoint_prior_scale": 0.05,
    "holidays_prior_scale": 10.0,
    "mcmc_samples": 0,
    "interval_width": 0.8,
    "uncertainty_samples": 0,
    "y_min": 0.0,
    "scaling": "absmax",
    "logistic_floor": False,
    "country_holidays": None,
    "holidays_mode": "additive",
    "changepoints_t": [0],
    "extra_regressors": [[], {}],
}
SEASONS = {"yearly": (365.25, 3), "weekly": (7, 8), "daily": (1, 6)}
TABLES = ("history", "history_dates", "changepoints", "holidays", "train_holiday_names", "train_component_cols")
LEARNED = ("yearly_seasonality", "seasonalities", "component_modes", "y_scale", "start", "t_scale", "fit_kwargs", "params")
VERSION_KEY = "__prophet_version"
HISTORY = {"ds": "datetime", "y": "number", "floor": "number", "t": "number", "y_scaled": "number"}
SCALARS = ("lp__", "k", "m", "delta", "sigma_obs")


def validate_prophet_json(content: bytes) -> None:
    """Raises ModelFileRefused, with the place in the file, unless it is a fitted fallback of ours."""
    with refusing(PROPHET_JSON):
        found = fields(
            parsed(content, most_bytes=MOST_BYTES, most_parts=MOST_PARTS), "", (*SETTINGS, *TABLES, *LEARNED, VERSION_KEY)
        )
        for name, expected in SETTINGS.items():
            exactly(found[name], name, expected)
        if not VERSION.fullmatch(text(found[VERSION_KEY], VERSION_KEY, 16)):
            raise Unexpected(VERSION_KEY, "a version is expected")
        whole(fields(found["fit_kwargs"], "fit_kwargs", ("seed",))["seed"], "fit_kwargs.seed", 0, LARGEST_SEED)
        number(found["y_scale"], "y_scale", SMALLEST)
        rows = _check_history(found)
        widths = _check_parts(found)
        _check_params(found["params"], rows, sum(widths.values()))


def _check_history(found: Mapping[str, Any]) -> int:
    """The days that were learned from, told in three ways; how many rows they are."""
    columns = _table(found["history"], "history", HISTORY, 2, MOST_ROWS)
    for name in ("y", "floor", "t", "y_scaled"):
        _numbers(columns[name], f"history.{name}")
    moments = _moments(columns["ds"], "history.ds")
    if (np.diff(moments) <= np.timedelta64(0)).any():
        raise Unexpected("history.ds", "times in order are expected")
    exactly(found["start"], "start", float(moments[0].astype("datetime64[s]").astype(np.int64)))
    exactly(found["t_scale"], "t_scale", float((moments[-1] - moments[0]) / np.timedelta64(1, "s")))
    dates = _series(found["history_dates"], "history_dates", "ds", MOST_ROWS)
    if dates != columns["ds"]:
        raise Unexpected("history_dates", "the times of the history are expected")
    _series(found["changepoints"], "changepoints", "ds", 0)
    return len(dates)


def _check_parts(found: Mapping[str, Any]) -> dict[str, int]:
    """Seasons and holidays, and which column of the design belongs to which; how many columns each has."""
    yearly, holidays = found["yearly_seasonality"] is not False, found["holidays"] is not None
    exactly(found["yearly_seasonality"], "yearly_seasonality", SEASONS["yearly"][1] if yearly else False)
    seasons = [name for name in SEASONS if yearly or name != "yearly"]
    exactly(found["seasonalities"], "seasonalities", [seasons, {name: _season(name) for name in seasons}])
    own = [*seasons, *([HOLIDAY] if holidays else [])]
    additive = [*own, "additive_terms", "extra_regressors_additive", "holidays"]
    multiplicative = ["multiplicative_terms", "extra_regressors_multiplicative"]
    exactly(found["component_modes"], "component_modes", {"additive": additive, "multiplicative": multiplicative})
    if holidays:
        columns = _table(found["holidays"], "holidays", {"holiday": "string", "ds": "datetime"}, 1, MOST_HOLIDAYS)
        exactly(columns["holiday"], "holidays.holiday", [HOLIDAY] * len(columns["ds"]))
        _moments(columns["ds"], "holidays.ds")
        exactly(_series(found["train_holiday_names"], "train_holiday_names", None, 1), "train_holiday_names", [HOLIDAY])
    else:
        exactly(found["train_holiday_names"], "train_holiday_names", None)
    widths = {name: 1 if name == HOLIDAY else 2 * SEASONS[name][1] for name in own}
    _check_component_columns(found["train_component_cols"], widths)
    return widths


def _season(name: str) -> dict[str, Any]:
    period, order = SEASONS[name]
    return {"period": period, "fourier_order": order, "prior_scale": 10.0, "mode": "additive", "condition_name": None}


def _check_component_columns(value: object, widths: Mapping[str, int]) -> None:
    at, rows = "train_component_cols", sum(widths.values())
    together = ["holidays"] if HOLIDAY in widths else []
    names = [*sorted(["additive_terms", *widths, *together]), "multiplicative_terms"]
    columns = _table(value, at, dict.fromkeys(names, "integer"), rows, rows)
    owner = [name for name, width in widths.items() for _ in range(width)]
    for name in names:
        mine = {"additive_terms": set(widths), "holidays": {HOLIDAY}, "multiplicative_terms": set()}.get(name, {name})
        exactly(columns[name], f"{at}.{name}", [int(one in mine) for one in owner])


def _check_params(value: object, rows: int, columns: int) -> None:
    found = fields(value, "params", (*SCALARS, "beta", "trend"))
    lengths = {**dict.fromkeys(SCALARS, 1), "beta": columns, "trend": rows}
    for name, length in lengths.items():
        (only,) = items(found[name], f"params.{name}", 1, 1)
        row(only, f"params.{name}[0]", length)


def _table(value: object, at: str, types: Mapping[str, str], fewest: int, most: int) -> dict[str, list[Any]]:
    """A table as pandas writes it, JSON within JSON: column → values, all there."""
    found = fields(_inner(value, at), at, ("schema", "data"))
    schema = fields(found["schema"], f"{at}.schema", ("fields", "pandas_version"))
    exactly(schema["pandas_version"], f"{at}.schema.pandas_version", "1.4.0")
    stated = items(schema["fields"], f"{at}.schema.fields", len(types), len(types))
    for one, (name, kind) in zip(stated, types.items(), strict=True):
        field = fields(one, f"{at}.schema.fields", ("name", "type"), ("extDtype",))
        # Newer pandas names its type of texts, older does not.
        known_more = {"extDtype": "str"} if "extDtype" in field and kind == "string" else {}
        exactly(field, f"{at}.schema.fields", {"name": name, "type": kind, **known_more})
    rows = items(found["data"], f"{at}.data", fewest, most)
    for place, one in enumerate(rows):
        if type(one) is not dict or one.keys() != types.keys():
            raise Unexpected(f"{at}.data[{place}]", f"the columns {', '.join(types)} are expected")
    return {name: [one[name] for one in rows] for name in types}


def _series(value: object, at: str, name: str | None, most: int) -> list[Any]:
    """A series as pandas writes it, numbered from nought."""
    found = fields(_inner(value, at), at, ("name", "index", "data"))
    exactly(found["name"], f"{at}.name", name)
    data = items(found["data"], f"{at}.data", 0, most)
    if items(found["index"], f"{at}.index", len(data), len(data)) != list(range(len(data))):
        raise Unexpected(f"{at}.index", "numbers from nought are expected")
    return data


def _inner(value: object, at: str) -> object:
    return parsed(text(value, at, MOST_BYTES), most_bytes=MOST_BYTES, most_parts=MOST_PARTS, at=at)


def _numbers(values: list[Any], at: str) -> Array:
    if not {type(one) for one in values} <= {int, float}:
        raise Unexpected(at, "numbers are expected")
    try:
        found = np.array(values, dtype=np.float64)
    except OverflowError as error:
        raise Unexpected(at, "smaller numbers are expected") from error
    if not (np.abs(found) <= LARGEST).all():
        raise Unexpected(at, f"numbers up to {LARGEST:g} are expected")
    return found


def _moments(values: list[Any], at: str) -> np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]:
    """Moments all written as `MOMENT_FORM`."""
    if not {type(one) for one in values} <= {str} or not {len(one) for one in values} <= {len(MOMENT_FORM)}:
        raise Unexpected(at, f"times like {MOMENT_FORM} are expected")
    try:
        found = np.array(values, dtype="datetime64[ms]")
    except ValueError as error:
        raise Unexpected(at, f"times like {MOMENT_FORM} are expected") from error
    within = (found >= np.datetime64(f"{FIRST_YEAR}-01-01")) & (found <= np.datetime64(f"{LAST_YEAR}-12-31"))
    # NaT lies nowhere; numpy reads more spellings than one.
    if not within.all() or np.datetime_as_string(found).tolist() != values:
        raise Unexpected(at, f"times like {MOMENT_FORM} are expected")
    return found
