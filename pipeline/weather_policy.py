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
from data.schema import TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, Utility
from data.weather_fusion import Exclusion, Profiles, bridged, exclude, fuse, learn_profiles
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
    """What a model expects of its weather: the policy, each provider's usual bias and spread, and who is left out when."""

    policy: WeatherPolicy
    profiles: Profiles
    excluded: Mapping[str, Exclusion]

    def to_json(self) -> dict[str, Any]:
        """As it stands in a bundle."""
        periods = sorted(self.excluded.items())
        return {
            "policy": str(self.policy),
            "profiles": {name: list(values) for name, values in sorted(self.profiles.coefficients.items())},
            "spread_c": dict(sorted(self.profiles.spread_c.items())),
            "excluded_from": {name: period.since.isoformat() for name, period in periods},
            "excluded_until": {name: period.until.isoformat() for name, period in periods if period.until is not None},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """As it was written by `to_json`, from a verified bundle.

        Bundles from before providers came back name no end; those from before providers were weighed, no spreads.
        """
        coefficients = {name: np.array(values, dtype=np.float64) for name, values in content["profiles"].items()}
        until = content.get("excluded_until", {})
        return cls(
            policy=WeatherPolicy.parse(content["policy"]),
            profiles=Profiles(coefficients, {name: float(spread) for name, spread in content.get("spread_c", {}).items()}),
            excluded={
                name: Exclusion(pd.Timestamp(since), pd.Timestamp(until[name]) if name in until else None)
                for name, since in content["excluded_from"].items()
            },
        )


def draw_contract(
    wide: pd.DataFrame, utility: Utility, policy: WeatherPolicy, excluded: Mapping[str, Exclusion]
) -> WeatherContract:
    """The contract a model trained now would have: profiles from the first 18 months, before anybody was excluded."""
    baseline = wide.loc[: wide.index[0] + BASELINE]
    return WeatherContract(policy, learn_profiles(exclude(baseline, excluded), utility), excluded)


def temperature_by(contract: WeatherContract, wide: pd.DataFrame, utility: Utility) -> tuple[pd.DataFrame, list[str]]:
    """The temperature a model gets and its uncertainty, and the providers they came from. Raises NoTrustedWeather.

    wide: one column a provider, as `weather_fusion.known_at` answers. Columns of the answer: `temperature_c` and
    `temperature_uncertainty_c` [°C, 1 σ]. A single provider is believed blindly: its uncertainty is NaN, and nothing widens.
    """
    kept = exclude(wide, contract.excluded)
    provider = contract.policy.trusted_provider
    if provider:
        column = kept[provider] if provider in kept.columns else pd.Series(np.nan, index=kept.index)
        if not column.notna().any():
            raise NoTrustedWeather(
                f"the only trusted provider, {provider}, has no usable values",
                mend=f"retrain with {MULTI_SOURCE} weather",
            )
        told = {TEMPERATURE_C: bridged(column, utility.step), TEMPERATURE_UNCERTAINTY_C: np.nan}
        return pd.DataFrame(told, index=kept.index), [provider]
    heard = [str(name) for name in kept.columns if kept[name].notna().any()]
    return fuse(kept, contract.profiles, utility, heard)[[TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C]], heard
