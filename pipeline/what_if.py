"""What the day's demand would be under an analyst's own temperatures, if they could be a day's weather at all.

    consider   the day as it is forecast (pipeline.prepared_day) → the temperatures told instead of its own, or its own moved
               → could they be weather? (forecasting.weather_plausibility)
    answer     usual: the same model, asked again; unusual: the same, its interval wider; impossible: refused, with reasons

A path of made-up numbers is the only input of the service that a caller chooses freely: whoever searches for one that moves
the forecast, or asks with thousands to learn the model, has to stay among real days (AML.T0043, AML.T0015, AML.T0024.002).
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from data.schema import TEMPERATURE_C, VALID_AT, Array
from data.training_set import LONGEST_TRAINING
from data.weather_fusion import known_at
from forecasting.forecaster import MEDIAN, QUANTILE_COLUMNS
from forecasting.member_says import MemberSays
from forecasting.told_weather import believed, day_before, day_of, predict_told
from forecasting.weather_plausibility import REFUSED_AT, Judgement, Verdict, WeatherPlausibility
from pipeline.errors import NoWeatherToChange, WeatherImpossible, WrongLength
from pipeline.ingest import Readings
from pipeline.prepared_day import PreparedDay
from pipeline.publish import OpenedModel
from pipeline.weather_policy import temperature_by

TOLD_DIGITS = 3
NEARLY = 0.75


@dataclass(frozen=True, eq=False)
class Considered:
    """A what-if before it is answered. prepared: the day as it is forecast; known: as the model believes it
    (forecasting.told_weather); path_c: the temperatures to answer under, base_c: those the forecast itself rests on, by
    interval [°C]; moved: the former are the latter, moved.
    """

    prepared: PreparedDay
    known: pd.DataFrame
    path_c: Array
    base_c: Array
    moved: bool
    judgement: Judgement

    @property
    def strange(self) -> bool:
        """Refused, or nearly: nobody's work goes there often."""
        return self.judgement.distance > NEARLY * REFUSED_AT

    def require_possible(self) -> None:
        """Raise WeatherImpossible, with the reasons, for temperatures that are no day's weather."""
        if self.judgement.verdict is Verdict.IMPOSSIBLE:
            raise WeatherImpossible(str(self.prepared.forecast.day), self.judgement.reasons)


@dataclass(frozen=True, eq=False)
class WhatIf:
    """A forecast under told temperatures.

    what_if_id: the same for the same model, day and temperatures; path_sha256: of these, rounded to a thousandth; says: what
    the members say, the deciles already as wide as the judgement asks (forecasting.member_says).
    """

    what_if_id: str
    considered: Considered
    path_sha256: str
    says: MemberSays

    @property
    def difference_mw(self) -> Array:
        """The median less that of the day as it is forecast [MW], shape (intervals,)."""
        middle = QUANTILE_COLUMNS.index(MEDIAN)
        difference: Array = self.says.quantiles_mw[:, middle] - self.considered.prepared.says.quantiles_mw[:, middle]
        return difference


class WhatIfs:
    """What-if questions of one service. What the weather teaches is learned at the first question, and again when the model
    or the readings are others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._learned: tuple[Readings, OpenedModel, WeatherPlausibility] | None = None

    def consider(self, prepared: PreparedDay, temperatures_c: Array | None, shift_c: float = 0.0) -> Considered:
        """Temperatures told for a prepared day, one for each interval, or else its own ones moved by `shift_c` [°C].

        Raises NoWeatherToChange for a model without weather, WrongLength, and as WeatherPlausibility.learn.
        """
        day, utility, forecaster = prepared.forecast.day, prepared.readings.utility, prepared.model.forecaster
        if not forecaster.needs_weather:
            raise NoWeatherToChange(prepared.model.model_id)
        known = believed(forecaster, prepared.known, day, utility)
        base_c = day_of(known, day, utility)
        path_c = base_c + shift_c if temperatures_c is None else temperatures_c
        if len(path_c) != len(utility.day_index(day)):
            raise WrongLength(str(day), len(path_c), len(utility.day_index(day)))
        learned, before = self._plausibility(prepared), day_before(known, day, utility)
        judgement = learned.judge(day, path_c, *before)
        if temperatures_c is None:
            # The forecast is not widened for being far out, so the same moved is for what it is further: not at all by 0 °C.
            further = judgement.widening / learned.judge(day, base_c, *before).widening
            judgement = replace(judgement, widening=max(further, 1.0))
        return Considered(prepared, known, path_c, base_c, temperatures_c is None, judgement)

    def _plausibility(self, prepared: PreparedDay) -> WeatherPlausibility:
        with self._lock:
            if self._learned is not None and self._learned[0] is prepared.readings and self._learned[1] is prepared.model:
                return self._learned[2]
            learned = WeatherPlausibility.learn(measured_c(prepared.readings, prepared.model), prepared.readings.utility)
            self._learned = (prepared.readings, prepared.model, learned)
            return learned


def answer(considered: Considered) -> WhatIf:
    """The forecast under the temperatures; it takes as long as any forecast. Raises WeatherImpossible."""
    considered.require_possible()
    prepared, path_c = considered.prepared, considered.path_c
    day, utility = prepared.forecast.day, prepared.readings.utility
    _, says = predict_told(prepared.model.forecaster, considered.known, day, path_c, utility, doubted=considered.moved)
    digest = hashlib.sha256(np.round(path_c, TOLD_DIGITS).astype("<f8").tobytes()).hexdigest()
    name = hashlib.sha256(f"{prepared.model.model_id}|{day}|{digest}".encode()).hexdigest()[:16]
    return WhatIf(f"w-{name}", considered, digest, says.widened(considered.judgement.widening))


def measured_c(readings: Readings, model: OpenedModel) -> pd.Series:
    """The temperatures that were measured until now, made one by the model's contract [°C]; index UTC.

    Now is the end of the newest demand: what is told of later times is a forecast.
    """
    step = readings.utility.step
    now = readings.demand.index[-1] + step
    first = max(readings.weather[VALID_AT].min(), now - LONGEST_TRAINING)
    wide = known_at(readings.weather, now, first, now - step, step)
    told, _ = temperature_by(model.contract, wide, readings.utility)
    temperature_c: pd.Series = told[TEMPERATURE_C]
    return temperature_c
