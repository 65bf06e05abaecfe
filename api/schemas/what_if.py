"""An analyst's own temperatures for a day, and what its demand would be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Self

import numpy as np
from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from api.schemas.forecasts import MOST_LEVELS, IsoDay
from api.schemas.message import Message
from data.schema import QUANTILES, Array
from forecasting.any_quantile import HIGHEST, LOWEST, at_levels
from forecasting.weather_plausibility import PHYSICS_C, Judgement, Verdict
from pipeline.what_if import WhatIf

# A local day of 23 hours in steps of an hour, and one of 25 in steps of five minutes.
FEWEST, MOST = 23, 300
FURTHEST_SHIFT_C = 15.0
# As a forecast is told (api.forecast_answers).
FIGURES = 6
_MEDIAN = QUANTILES.index(0.5)

Celsius = Annotated[float, Field(ge=PHYSICS_C[0], le=PHYSICS_C[1], allow_inf_nan=False)]
Course = Annotated[list[Celsius], Field(min_length=FEWEST, max_length=MOST)]
Shift = Annotated[float, Field(ge=-FURTHEST_SHIFT_C, le=FURTHEST_SHIFT_C, allow_inf_nan=False)]


class WhatIfOrder(Message):
    """Which local day, under which temperatures, and which quantiles: give either `temperatures_c` or `shift_c`."""

    model_config = ConfigDict(
        strict=True,
        json_schema_extra={
            "oneOf": [{"required": ["temperatures_c"]}, {"required": ["shift_c"]}],
            "examples": [{"day": "2014-12-20", "shift_c": 2.0, "quantiles": [0.1, 0.5, 0.9]}],
        },
    )

    day: IsoDay
    temperatures_c: Course | SkipJsonSchema[None] = Field(
        default=None,
        description="one for each interval of the local day [°C]: 48 half-hours, 46 or 50 on a day on which the clocks move",
    )
    shift_c: Shift | SkipJsonSchema[None] = Field(
        default=None, description="added to what the forecast itself takes the temperature to be [°C]"
    )
    quantiles: list[Annotated[float, Field(ge=LOWEST, le=HIGHEST)]] = Field(
        default=list(QUANTILES),
        min_length=1,
        max_length=MOST_LEVELS,
        description="levels of the quantiles, each at most once; default: the nine deciles",
        json_schema_extra={"uniqueItems": True},
    )

    @field_validator("quantiles")
    @classmethod
    def _distinct(cls, levels: list[float]) -> list[float]:
        if len(set(levels)) < len(levels):
            raise ValueError("give each level at most once")
        return levels

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        given = {"temperatures_c", "shift_c"} & self.model_fields_set
        if len(given) != 1 or (self.temperatures_c is None and self.shift_c is None):
            raise ValueError("give either temperatures_c or shift_c")
        return self


class JudgementAnswer(Message):
    """What is made of the temperatures. reasons: why they are unusual; distance: 1 is as far out as 1 in 100 measured days;
    p_value: the share of measured days at least as far out; widening: how many times as wide as usual the quantiles are.
    """

    verdict: Verdict = Field(json_schema_extra={"enum": ["usual", "unusual"]})
    reasons: list[str]
    distance: float
    p_value: float
    widening: float

    @classmethod
    def of(cls, judgement: Judgement) -> Self:
        """Of temperatures that are answered."""
        return cls(
            verdict=judgement.verdict,
            reasons=list(judgement.reasons),
            distance=round(judgement.distance, 2),
            p_value=round(judgement.p_value, 4),
            widening=round(judgement.widening, 2),
        )


class WhatIfInterval(Message):
    """One interval: its start (UTC), the temperature, power and quantiles under it, and power as it is forecast."""

    timestamp: datetime
    temperature_c: float
    forecast_mw: float
    base_mw: float
    difference_mw: float
    quantiles: dict[str, float]


class WhatIfAnswer(Message):
    """A forecast under other temperatures beside the one as it is. what_if_id: the same for the same model, day and
    temperatures; base_forecast_id: of the forecast it departs from.
    """

    what_if_id: str
    base_forecast_id: str
    day: date
    model_id: str
    snapshot_id: str
    gate_closure: datetime
    unit: str = "MW"
    judgement: JudgementAnswer
    intervals: list[WhatIfInterval]

    @classmethod
    def of(cls, what_if: WhatIf, shown_mw: Array, base_mw: Array, levels: Sequence[float]) -> Self:
        """shown_mw, base_mw: deciles of both as the caller may see them, shape (intervals, 9)."""
        base = what_if.considered.prepared.forecast
        decimals = _decimals(shown_mw)
        quantiles = at_levels(shown_mw, levels).round(decimals).tolist()
        names = [str(level) for level in levels]
        medians = zip(
            shown_mw[:, _MEDIAN].round(decimals).tolist(), base_mw[:, _MEDIAN].round(decimals).tolist(), strict=True
        )
        rows = zip(base.frame.index, what_if.considered.path_c.round(3).tolist(), medians, quantiles, strict=True)
        intervals = [
            WhatIfInterval(
                timestamp=start.to_pydatetime(),
                temperature_c=temperature_c,
                forecast_mw=median,
                base_mw=unchanged,
                difference_mw=round(median - unchanged, decimals),
                quantiles=dict(zip(names, values, strict=True)),
            )
            for start, temperature_c, (median, unchanged), values in rows
        ]
        return cls(
            what_if_id=what_if.what_if_id,
            base_forecast_id=base.forecast_id,
            day=base.day,
            model_id=base.model_id,
            snapshot_id=base.snapshot_id,
            gate_closure=base.gate_closure.to_pydatetime(),
            judgement=JudgementAnswer.of(what_if.considered.judgement),
            intervals=intervals,
        )


def _decimals(shown_mw: Array) -> int:
    largest = float(np.abs(shown_mw[:, _MEDIAN]).max())
    return FIGURES if largest == 0 else int(np.clip(FIGURES - 1 - np.floor(np.log10(largest)), 0, 12))
