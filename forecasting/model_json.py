"""What `model.json` must be before anything is built from it: the keys, types, sizes and shapes that `model_files` writes.

A file that passes has no list that is too short for another, no feature that no table has and no size that fills the memory:
nothing that is asked of the model later can reach outside what is there. Whether its numbers are the right ones only the
signature says, and the golden forecasts (AML.T0018).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from data.schema import QUANTILES, Array, Utility
from forecasting.certified import CERTIFIED
from forecasting.certified_features import FEATURES
from forecasting.ensemble import ENSEMBLE, MEMBERS
from forecasting.member_json import CHECKS, LEAST_SPREAD, MOST_SPREAD, check_line
from forecasting.model_layout import Layout, layout_of
from forecasting.prophet_forecaster import ProphetForecaster
from forecasting.quantile_trees import QUANTILE_TREES
from forecasting.recent import LARGEST_SHARE, RECENT_DAYS
from forecasting.regimes import DAY_KINDS, REGIME_LEVELS, WEATHER_REGIMES
from forecasting.spread import KEPT_LEVELS
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
    step_minutes,
    text,
    whole,
)
from forecasting.weather_correction import PARTS_PER_DAY

MODEL_JSON = "model.json"
FORMAT_VERSION = 2
# Three years of five minutes take a third of it.
MOST_BYTES = 64 * 2**20
MOST_PARTS = 100_000
MOST_HOLIDAYS = 5_000
MOST_MODELS = 501
MOST_TREES = 10_000
LARGEST_SEED = 2**32 - 1
# Further ahead, the features of a day would begin before what a forecast reads (day_grid.LOOKBACK_DAYS).
LONGEST_LEAD_DAYS = 13
LONGEST_DELAY_MINUTES = 31 * 24 * 60
WIDEST_WEATHER_C = 1e3
SMALLEST = 1e-30
SUM_OF_WEIGHTS = 1e-9
COMMON = ("format", "forecaster", "seed", "utility")
ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")

Content = Mapping[str, Any]


def validate_model_json(content: bytes) -> None:
    """Raises ModelFileRefused, with the place in the file, unless it is a whole model of a known kind."""
    with refusing(MODEL_JSON):
        found = parsed(content, most_bytes=MOST_BYTES, most_parts=MOST_PARTS)
        fields(found, "", COMMON, found)
        exactly(found["format"], "format", FORMAT_VERSION)
        kind = text(found["forecaster"], "forecaster", 40)
        if kind not in KINDS:
            raise Unexpected("forecaster", "no model is called so")
        required, optional, check = KINDS[kind]
        fields(found, "", (*COMMON, *required), optional)
        whole(found["seed"], "seed", 0, LARGEST_SEED)
        check(found, layout_of(_utility(found["utility"], "utility")))


def _utility(value: object, at: str) -> Utility:
    names = ("timezone", "step_minutes", "gate_closure", "holidays", "demand_delay_minutes", "lead_days")
    found = fields(value, at, names)
    delay = whole(found["demand_delay_minutes"], f"{at}.demand_delay_minutes", 0, LONGEST_DELAY_MINUTES)
    return Utility(
        timezone=_zone(found["timezone"], f"{at}.timezone"),
        step=pd.Timedelta(minutes=step_minutes(found["step_minutes"], f"{at}.step_minutes")),
        gate_closure=_clock(found["gate_closure"], f"{at}.gate_closure"),
        holidays=frozenset(dates(found["holidays"], f"{at}.holidays", 0, MOST_HOLIDAYS)),
        demand_delay=pd.Timedelta(minutes=delay),
        lead_days=whole(found["lead_days"], f"{at}.lead_days", 0, LONGEST_LEAD_DAYS),
    )


def _zone(value: object, at: str) -> str:
    name = text(value, at, 64)
    try:
        if not ZONE_NAME.fullmatch(name):
            raise Unexpected(at, "a time zone is expected")
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise Unexpected(at, "a known time zone is expected") from error
    return name


def _clock(value: object, at: str) -> time:
    written = text(value, at, 8)
    try:
        found = time.fromisoformat(written)
    except ValueError as error:
        raise Unexpected(at, "a time of day is expected") from error
    if found.isoformat() != written or found.tzinfo is not None:
        raise Unexpected(at, "a time of day like 09:00:00 is expected")
    return found


def _check_ensemble(found: Content, layout: Layout) -> None:
    order = _order(found["order"], found["forecaster"])
    members = fields(found["members"], "members", order)
    for name in order:
        CHECKS[name](members[name], f"members.{name}", layout)
    number(found["scale_mw"], "scale_mw", SMALLEST)
    number(found["usual_mw"], "usual_mw")
    if abs(row(found["weights"], "weights", len(order), 0.0, 1.0).sum() - 1) > SUM_OF_WEIGHTS:
        raise Unexpected("weights", "they must sum up to one")
    row(found["usual_error"], "usual_error", len(order), 0.0)
    number(found["share"], "share", 0.0, LARGEST_SHARE)
    number(found["sharper"], "sharper", 0.0)
    _check_correction(found["correction"], layout)
    _check_spread(found["spread"], layout)
    _check_achieved(found["achieved"], len(order), layout)
    if "usual_uncertainty_c" in found:
        number(found["usual_uncertainty_c"], "usual_uncertainty_c", 0.0, WIDEST_WEATHER_C)


def _order(value: object, kind: str) -> list[str]:
    """The members: those of the ensemble in their order, or the one that the model is called by."""
    names = [text(name, "order", 40) for name in items(value, "order", 1, len(MEMBERS))]
    allowed = [name for name in MEMBERS if name in names] if kind == ENSEMBLE else [kind]
    if names != allowed:
        raise Unexpected("order", "members of the ensemble, in order and none twice, are expected")
    return names


def _check_correction(value: object, layout: Layout) -> None:
    if value is None:
        return
    found = fields(value, "correction", ("centre", "spread", "coefficients"))
    features = (layout.lead_days + 2) * PARTS_PER_DAY + 2
    block(found["centre"], "correction.centre", (features,))
    block(found["spread"], "correction.spread", (features,), LEAST_SPREAD, MOST_SPREAD)
    block(found["coefficients"], "correction.coefficients", (1 + features, (layout.lead_days + 1) * layout.slots))


def _check_spread(value: object, layout: Layout) -> None:
    found = fields(value, "spread", ("bounds", "usual", "kind", "scores"))
    if found["bounds"] is not None:
        _in_order(row(found["bounds"], "spread.bounds", len(REGIME_LEVELS)), "spread.bounds")
    block(found["usual"], "spread.usual", (len(WEATHER_REGIMES), layout.slots), SMALLEST)
    row(found["kind"], "spread.kind", len(DAY_KINDS), SMALLEST)
    _in_order(row(found["scores"], "spread.scores", len(KEPT_LEVELS)), "spread.scores")


def _check_achieved(value: object, members: int, layout: Layout) -> None:
    found = fields(value, "achieved", ("days", "said", "drawn", "spread"))
    days = len(dates(found["days"], "achieved.days", 1, RECENT_DAYS + layout.lead_days + 1))
    block(found["said"], "achieved.said", (members, days, layout.slots))
    block(found["drawn"], "achieved.drawn", (days, layout.slots))
    block(found["spread"], "achieved.spread", (days, layout.slots), 0.0)


def _check_prophet(found: Content, _layout: Layout) -> None:
    _in_order(row(found["miss_mw"], "miss_mw", len(QUANTILES)), "miss_mw")


def _check_certified(found: Content, layout: Layout) -> None:
    models = items(found["models"], "models", 1, MOST_MODELS)
    if len(models) % 2 == 0:
        raise Unexpected("models", "an odd number of them is expected")
    whole(found["copies"], "copies", 1, len(models))
    for place, model in enumerate(models):
        at = f"models[{place}]"
        content = fields(model, at, ("usual_mw", "coefficients_mw", "offsets_mw"))
        block(content["usual_mw"], f"{at}.usual_mw", (layout.slots,))
        block(content["coefficients_mw"], f"{at}.coefficients_mw", (layout.slots, FEATURES))
        offsets = block(content["offsets_mw"], f"{at}.offsets_mw", (layout.slots, len(QUANTILES)))
        _in_order(offsets, f"{at}.offsets_mw")


def _check_quantile_trees(found: Content, layout: Layout) -> None:
    whole(found["trees"], "trees", 1, MOST_TREES)
    check_line(found["line"], "line", layout.columns, layout.slots)
    number(found["scale_mw"], "scale_mw", SMALLEST)
    number(found["usual_mw"], "usual_mw")
    row(found["offsets"], "offsets", len(QUANTILES))
    _check_correction(found["correction"], layout)


def _in_order(values: Array, at: str) -> None:
    if (np.diff(values) < 0).any():
        raise Unexpected(at, "numbers in order are expected")


_ENSEMBLE_KEYS = ("order", "members", "scale_mw", "usual_mw", "weights", "usual_error", "share", "sharper", "correction")
_OF_ENSEMBLE = ((*_ENSEMBLE_KEYS, "spread", "achieved"), ("usual_uncertainty_c",), _check_ensemble)
# By the model's name: the keys it must have, those it may have, and what is checked of them.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[[Content, Layout], None]]] = {
    **dict.fromkeys((ENSEMBLE, *MEMBERS), _OF_ENSEMBLE),
    ProphetForecaster.name: (("miss_mw",), (), _check_prophet),
    CERTIFIED: (("copies", "models"), (), _check_certified),
    QUANTILE_TREES: (("trees", "line", "scale_mw", "usual_mw", "offsets", "correction"), (), _check_quantile_trees),
}
