"""Days whose forecast is ready: made once, kept, and answered from without another calculation."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import pandas as pd

from data.schema import Array
from forecasting.forecaster import FORECAST_MW, MEDIAN
from forecasting.member_says import MemberSays
from pipeline.errors import DayLearned
from pipeline.ingest import Readings
from pipeline.predict import DayForecast
from pipeline.publish import OpenedModel

KEPT_DAYS = 256

DayAsked = tuple[date, int]


@dataclass(frozen=True, eq=False)
class PreparedDay:
    """What a day's answers are drawn from. known: as the model was asked with (forecasting.forecaster); model: that
    answered, the fallback where no trusted weather was left; learned_until: the last local day that this one learned from.
    """

    forecast: DayForecast
    says: MemberSays
    known: pd.DataFrame
    model: OpenedModel
    readings: Readings
    learned_until: date

    @property
    def learned(self) -> bool:
        """Whether the model that answered learned from this day (pipeline.learned_days)."""
        return self.forecast.day <= self.learned_until

    def require_unlearned(self) -> None:
        """Raise DayLearned for a day that the model which answered learned from."""
        if self.learned:
            raise DayLearned(str(self.forecast.day), self.model.model_id, str(self.learned_until))

    @cached_property
    def beside_median_mw(self) -> Array:
        """The forecast less its median [MW], shape (intervals,): nothing, but for the fallback, which forecasts a mean."""
        frame = self.forecast.frame
        beside: Array = frame[FORECAST_MW].to_numpy(dtype=np.float64) - frame[MEDIAN].to_numpy(dtype=np.float64)
        return beside


class PreparedDays:
    """The days last asked for, at most `kept`; of many who ask for one that is not ready, the first makes it (AML.T0029)."""

    def __init__(self, kept: int = KEPT_DAYS) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._ready: OrderedDict[DayAsked, PreparedDay] = OrderedDict()
        self._making: dict[DayAsked, Future[PreparedDay]] = {}

    def find(self, asked: DayAsked) -> PreparedDay | None:
        """What is ready; None for what is not."""
        with self._lock:
            found = self._ready.get(asked)
            if found is not None:
                self._ready.move_to_end(asked)
            return found

    def found_or(self, asked: DayAsked, make: Callable[[], PreparedDay]) -> PreparedDay:
        """What is ready, or what `make` answers; what it raises reaches all who waited, and is not kept."""
        with self._lock:
            found = self._ready.get(asked)
            if found is not None:
                return found
            being_made = self._making.get(asked)
            mine = Future[PreparedDay]()
            if being_made is None:
                self._making[asked] = mine
        return self._made(asked, make, mine) if being_made is None else being_made.result()

    def _made(self, asked: DayAsked, make: Callable[[], PreparedDay], mine: Future[PreparedDay]) -> PreparedDay:
        try:
            made = make()
        except BaseException as error:
            with self._lock:
                del self._making[asked]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._making[asked]
            self._ready[asked] = made
            while len(self._ready) > self._kept:
                self._ready.popitem(last=False)
        mine.set_result(made)
        return made
