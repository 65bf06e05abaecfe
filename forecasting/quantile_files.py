"""Quantile trees as files: numbers as JSON, and each quantile's trees as LightGBM text (forecasting.model_files)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.schema import QUANTILES
from forecasting.arrays import array, utility_from_json
from forecasting.forecaster import quantile_column
from forecasting.lightgbm_text import open_booster
from forecasting.linear_files import correction_from_json, correction_to_json, linear_from_json, linear_to_json
from forecasting.quantile_trees import QuantileTreesForecaster

BOOSTERS: tuple[str, ...] = tuple(f"booster-{quantile_column(level)}.txt" for level in QUANTILES)


def quantile_trees_to_json(forecaster: QuantileTreesForecaster) -> dict[str, Any]:
    """What quantile trees learned, but for the trees."""
    return {
        "trees": forecaster.trees,
        "line": linear_to_json(forecaster.line_),
        "scale_mw": forecaster.scale_mw_,
        "usual_mw": forecaster.usual_mw_,
        "offsets": forecaster.offsets_.tolist(),
        "correction": correction_to_json(forecaster.correction_),
    }


def quantile_trees_to_texts(forecaster: QuantileTreesForecaster) -> dict[str, bytes]:
    """The trees, a file a quantile."""
    return {name: booster.model_to_string().encode() for name, booster in zip(BOOSTERS, forecaster.boosters_, strict=True)}


def quantile_trees_from_files(content: Mapping[str, Any], files: Mapping[str, bytes]) -> QuantileTreesForecaster:
    """The forecaster that was written. Raises ModelFileRefused for a text, ValueError, KeyError, TypeError else."""
    forecaster = QuantileTreesForecaster(int(content["trees"]), int(content["seed"]))
    forecaster.utility_ = utility_from_json(content["utility"])
    forecaster.line_ = linear_from_json(content["line"])
    forecaster.scale_mw_ = float(content["scale_mw"])
    forecaster.usual_mw_ = float(content["usual_mw"])
    forecaster.correction_ = correction_from_json(content["correction"])
    forecaster.offsets_ = array(content["offsets"])
    if forecaster.offsets_.shape != (len(QUANTILES),):
        raise ValueError(f"{forecaster.offsets_.shape} offsets")
    features = len(forecaster.line_.columns_) + 1
    forecaster.boosters_ = tuple(open_booster(files[name], features=features, part=name) for name in BOOSTERS)
    return forecaster
