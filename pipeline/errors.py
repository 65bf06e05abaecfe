"""Errors of the pipeline room."""

from __future__ import annotations

from security.errors import GridwardError, IntegrityError, UnavailableError


class PipelineError(GridwardError):
    """A stage cannot do what it was asked with what it was given."""

    exit_code = 2


class NoActiveModel(UnavailableError):
    """Nothing was published yet."""

    def __init__(self) -> None:
        super().__init__("no active model", where="registry", mend="run `gridward train`, or retrain through the service")


class DayNotForecastable(PipelineError):
    """A day for which the station holds no readings up to its gate closure: `day`."""

    def __init__(self, day: str, first: str, last: str) -> None:
        self.day = day
        super().__init__(
            f"day {day} is outside what can be forecast from the readings", mend=f"ask for a day from {first} to {last}"
        )


class BundleSwapped(IntegrityError):
    """A validly signed bundle stands where another one should: `model_id`."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id
        super().__init__(
            "this bundle is not the one that was registered",
            where=f"model {model_id}",
            mend="restore the bundle, or train a new model",
        )


class ClaimsNotMet(PipelineError):
    """A run was completed and its figures are not what is claimed of it: `claims`."""

    exit_code = 6

    def __init__(self, claims: list[str]) -> None:
        self.claims = claims
        super().__init__(
            f"{len(claims)} claim(s) did not hold: {'; '.join(claims)}", mend="read the report before quoting any figure"
        )
