"""A line per time of day, and a correction of forecast temperatures, as JSON: parts of several forecasters' files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forecasting.arrays import array, packed
from forecasting.linear_member import LinearMember
from forecasting.weather_correction import WeatherCorrection

Content = Mapping[str, Any]


def linear_to_json(member: LinearMember) -> dict[str, Any]:
    """What a line per time of day learned."""
    return {
        "columns": list(member.columns_),
        "knots": {name: list(values) for name, values in member.knots_.items()},
        "centre": packed(member.centre_),
        "spread": packed(member.spread_),
        "coefficients": packed(member.coefficients_),
    }


def linear_from_json(content: Content) -> LinearMember:
    """The lines that were written. Raises ValueError, KeyError or TypeError for anything else."""
    member = LinearMember()
    member.columns_ = tuple(content["columns"])
    member.knots_ = {name: tuple(float(knot) for knot in values) for name, values in content["knots"].items()}
    member.centre_ = array(content["centre"])
    member.spread_ = array(content["spread"])
    member.coefficients_ = array(content["coefficients"])
    return member


def correction_to_json(correction: WeatherCorrection | None) -> dict[str, Any] | None:
    """What to make of a forecast temperature; None where nothing is known of that."""
    if correction is None:
        return None
    return {
        "centre": packed(correction.centre),
        "spread": packed(correction.spread),
        "coefficients": packed(correction.coefficients),
    }


def correction_from_json(content: Content | None) -> WeatherCorrection | None:
    """The correction that was written. Raises ValueError, KeyError or TypeError for anything else."""
    if content is None:
        return None
    return WeatherCorrection(array(content["centre"]), array(content["spread"]), array(content["coefficients"]))
