"""Whose weather a model is trained on and served with: one provider believed blindly, or the trusted ones fused.

The policy belongs to the model: a bundle carries it, so a model is never served with another kind of weather than it
learned from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from data.errors import NoTrustedWeather
from data.schema import TEMPERATURE_C, Utility
from data.weather_fusion import Profiles, bridged, exclude, fuse, learn_profiles
from pipeline.errors import PipelineError

MULTI_SOURCE = "multi-source"
SINGLE = "single:"
BASELINE = pd.Timedelta(days=540)


@dataclass(frozen=True)
class WeatherPolicy:
    """trusted_provider: the one that is believed without comparison; empty for `multi-source`."""

    trusted_provider: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """`multi-source`, or `single:NAME`. Raises PipelineError."""
        if text == MULTI_SOURCE:
            return cls()
        if text.startswith(SINGLE) and len(text) > len(SINGLE):
            return cls(text.removeprefix(SINGLE))
        raise PipelineError(f"{text!r} is no weather policy", mend=f"use {MULTI_SOURCE} or {SINGLE}NAME")

    def __str__(self) -> str:
        return f"{SINGLE}{self.trusted_provider}" if self.trusted_provider else MULTI_SOURCE


@dataclass(frozen=True)
class WeatherContract:
    """What a model expects of its weather: the policy, each provider's usual bias, and who is left out since when."""

    policy: WeatherPolicy
    profiles: Profiles
    excluded_from: Mapping[str, pd.Timestamp]

    def to_json(self) -> dict[str, Any]:
        """As it stands in a bundle."""
        return {
            "policy": str(self.policy),
            "profiles": {name: list(values) for name, values in sorted(self.profiles.coefficients.items())},
            "excluded_from": {name: moment.isoformat() for name, moment in sorted(self.excluded_from.items())},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """As it was written by `to_json`, from a verified bundle."""
        coefficients = {name: np.array(values, dtype=np.float64) for name, values in content["profiles"].items()}
        return cls(
            policy=WeatherPolicy.parse(content["policy"]),
            profiles=Profiles(coefficients),
            excluded_from={name: pd.Timestamp(moment) for name, moment in content["excluded_from"].items()},
        )


def draw_contract(
    wide: pd.DataFrame, utility: Utility, policy: WeatherPolicy, excluded_from: Mapping[str, pd.Timestamp]
) -> WeatherContract:
    """The contract a model trained now would have: profiles from the first 18 months, before anybody was excluded."""
    baseline = wide.loc[: wide.index[0] + BASELINE]
    return WeatherContract(policy, learn_profiles(exclude(baseline, excluded_from), utility), excluded_from)


def temperature_by(contract: WeatherContract, wide: pd.DataFrame, utility: Utility) -> tuple[pd.Series, list[str]]:
    """The temperature [°C] a model gets, and the providers it came from. Raises NoTrustedWeather.

    wide: one column a provider, as `weather_fusion.known_at` answers.
    """
    kept = exclude(wide, contract.excluded_from)
    provider = contract.policy.trusted_provider
    if provider:
        column = kept[provider] if provider in kept.columns else pd.Series(np.nan, index=kept.index)
        if not column.notna().any():
            raise NoTrustedWeather(
                f"the only trusted provider, {provider}, has no usable values",
                mend=f"retrain with {MULTI_SOURCE} weather",
            )
        return bridged(column, utility.step).rename(TEMPERATURE_C), [provider]
    heard = [str(name) for name in kept.columns if kept[name].notna().any()]
    return fuse(kept, contract.profiles, utility, heard)[TEMPERATURE_C], heard
