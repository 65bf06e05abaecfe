"""Errors of the forecasting room."""

from __future__ import annotations

from security.errors import GridwardError


class ForecastingError(GridwardError):
    """A forecaster cannot be fitted or asked with what it was given."""

    exit_code = 2


class TooLittleHistory(ForecastingError):
    """Fewer usable days than a forecaster needs: `found_days`, `needed_days`."""

    def __init__(self, *, found_days: int, needed_days: int) -> None:
        self.found_days = found_days
        self.needed_days = needed_days
        super().__init__(
            f"{found_days} usable days of history, at least {needed_days} are needed",
            mend="begin the forecast later or give more history",
        )


class UnusableModels(ForecastingError):
    """Numbers that make no certificate: `models`, `copies`."""

    def __init__(self, models: int, copies: int) -> None:
        self.models = models
        self.copies = copies
        super().__init__(
            f"{models} models with {copies} copies of each week",
            mend="take an odd number of models, and from one copy to as many as there are models",
        )


class ModelFileRefused(ForecastingError):
    """A model file does not have the documented content: `part`."""

    exit_code = 3

    def __init__(self, problem: str, *, part: str) -> None:
        self.part = part
        super().__init__(problem, where=part, mend="restore the bundle from the registry or train again")
