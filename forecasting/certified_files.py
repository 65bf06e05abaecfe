"""A certified forecaster as JSON: its models one after the other, numbers only (forecasting.model_files)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.schema import QUANTILES
from forecasting.arrays import array, packed, utility_from_json
from forecasting.certified import CertifiedForecaster
from forecasting.certified_features import FEATURES
from forecasting.certified_model import CertifiedModel


def certified_to_json(forecaster: CertifiedForecaster) -> dict[str, Any]:
    """What a certified forecaster learned."""
    return {
        "copies": forecaster.copies,
        "models": [
            {
                "usual_mw": packed(model.usual_mw),
                "coefficients_mw": packed(model.coefficients_mw),
                "offsets_mw": packed(model.offsets_mw),
            }
            for model in forecaster.models_
        ],
    }


def certified_from_json(content: Mapping[str, Any]) -> CertifiedForecaster:
    """The forecaster that was written. Raises ValueError, KeyError, TypeError or UnusableModels for anything else."""
    utility = utility_from_json(content["utility"])
    forecaster = CertifiedForecaster(len(content["models"]), int(content["copies"]), int(content["seed"]))
    forecaster.utility_ = utility
    forecaster.models_ = tuple(_model(stored, utility.steps_per_day) for stored in content["models"])
    return forecaster


def _model(content: Mapping[str, Any], slots: int) -> CertifiedModel:
    usual, coefficients, offsets = (array(content[name]) for name in ("usual_mw", "coefficients_mw", "offsets_mw"))
    shapes = (usual.shape, coefficients.shape, offsets.shape)
    if shapes != ((slots,), (slots, FEATURES), (slots, len(QUANTILES))):
        raise ValueError(f"arrays of a model that do not fit together: {shapes}")
    return CertifiedModel(usual, coefficients, offsets)
