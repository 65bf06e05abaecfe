"""Fitted forecasters as data: LightGBM text, Prophet JSON, our own JSON; never an executable format (AML.T0018, ML06).

`dump` and `load` deal in bytes only; reading, signing and verifying files is the pipeline's business, and it verifies
before it calls `load`. LightGBM's parser aborts the process on many malformed texts: each passes `lightgbm_text` first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import lightgbm as lgb
import numpy as np

from forecasting.arrays import array, packed, utility_from_json, utility_to_json
from forecasting.certified import CertifiedForecaster
from forecasting.certified_files import certified_from_json, certified_to_json
from forecasting.departure_member import DepartureMember
from forecasting.ensemble import EnsembleForecaster
from forecasting.errors import ModelFileRefused, UnusableModels
from forecasting.kernel_features import Block
from forecasting.kernel_learning import Kernel
from forecasting.kernel_member import BlockModel, KernelMember
from forecasting.lightgbm_member import LightGBMMember
from forecasting.lightgbm_text import BOOSTER, open_booster
from forecasting.linear_files import correction_from_json, correction_to_json, linear_from_json, linear_to_json
from forecasting.linear_member import LinearMember
from forecasting.member import Member
from forecasting.model_json import FORMAT_VERSION, MODEL_JSON, validate_model_json
from forecasting.prophet_forecaster import ProphetForecaster, quiet
from forecasting.prophet_json import PROPHET_JSON, validate_prophet_json
from forecasting.quantile_files import (
    BOOSTERS,
    quantile_trees_from_files,
    quantile_trees_to_json,
    quantile_trees_to_texts,
)
from forecasting.quantile_trees import QuantileTreesForecaster
from forecasting.recent import Achieved
from forecasting.spread import Spread

Restorable = EnsembleForecaster | ProphetForecaster | CertifiedForecaster | QuantileTreesForecaster
Content = Mapping[str, Any]


def dump(forecaster: Restorable) -> dict[str, bytes]:
    """The files of a fitted forecaster: name → content."""
    content: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "forecaster": forecaster.name,
        "seed": forecaster.seed,
        "utility": utility_to_json(forecaster.utility_),
    }
    if isinstance(forecaster, CertifiedForecaster):
        return {MODEL_JSON: _json(content | certified_to_json(forecaster))}
    if isinstance(forecaster, QuantileTreesForecaster):
        return {MODEL_JSON: _json(content | quantile_trees_to_json(forecaster)), **quantile_trees_to_texts(forecaster)}
    if isinstance(forecaster, ProphetForecaster):
        with quiet():
            from prophet.serialize import model_to_json  # noqa: PLC0415 (slow to import, rarely needed)

            text = model_to_json(forecaster.model_)
        content["miss_mw"] = forecaster.miss_mw_.tolist()
        return {MODEL_JSON: _json(content), PROPHET_JSON: text.encode()}
    members = dict(zip(forecaster.names_, forecaster.members_, strict=True))
    content |= {
        "order": list(forecaster.names_),
        "members": {name: _dump_member(member) for name, member in members.items()},
        "scale_mw": forecaster.scale_mw_,
        "usual_mw": forecaster.usual_mw_,
        "weights": forecaster.weights_.tolist(),
        "usual_error": forecaster.usual_error_.tolist(),
        "share": forecaster.share_,
        "sharper": forecaster.sharper_,
        "correction": correction_to_json(forecaster.correction_),
        "spread": {
            "bounds": list(forecaster.spread_.bounds) if np.isfinite(forecaster.spread_.bounds).all() else None,
            "usual": packed(forecaster.spread_.usual),
            "kind": forecaster.spread_.kind.tolist(),
            "scores": forecaster.spread_.scores.tolist(),
        },
        "achieved": {
            "days": [day.isoformat() for day in forecaster.achieved_.days],
            "said": packed(forecaster.achieved_.said),
            "drawn": packed(forecaster.achieved_.drawn),
            "spread": packed(forecaster.achieved_.spread),
        },
    }
    if np.isfinite(forecaster.usual_uncertainty_c_):
        content["usual_uncertainty_c"] = forecaster.usual_uncertainty_c_
    files = {MODEL_JSON: _json(content)}
    for member in members.values():
        if isinstance(member, LightGBMMember):
            files[BOOSTER] = member.booster_.model_to_string().encode()
    return files


def load(files: Mapping[str, bytes]) -> Restorable:
    """The forecaster that `dump` wrote. Give it verified bytes only; each file is validated before it is parsed.

    Raises ModelFileRefused.
    """
    try:
        validate_model_json(files[MODEL_JSON])
        content = json.loads(files[MODEL_JSON])
        if content["forecaster"] == ProphetForecaster.name:
            _require_files(files, MODEL_JSON, PROPHET_JSON)
            return _load_prophet(content, files)
        if content["forecaster"] == CertifiedForecaster.name:
            _require_files(files, MODEL_JSON)
            return certified_from_json(content)
        if content["forecaster"] == QuantileTreesForecaster.name:
            _require_files(files, MODEL_JSON, *BOOSTERS)
            return quantile_trees_from_files(content, files)
        return _load_ensemble(content, files)
    except (AttributeError, KeyError, TypeError, ValueError, UnusableModels, lgb.basic.LightGBMError) as error:
        raise ModelFileRefused(f"not a model of format {FORMAT_VERSION}: {error}", part=MODEL_JSON) from error


def _require_files(files: Mapping[str, bytes], *names: str) -> None:
    wrong = sorted(files.keys() ^ set(names))
    if wrong:
        problem = "no file of this model" if wrong[0] in files else "the file is missing"
        raise ModelFileRefused(problem, part=wrong[0])


def _load_prophet(content: Content, files: Mapping[str, bytes]) -> ProphetForecaster:
    validate_prophet_json(files[PROPHET_JSON])
    forecaster = ProphetForecaster(seed=int(content["seed"]))
    forecaster.utility_ = utility_from_json(content["utility"])
    with quiet():
        from prophet.serialize import model_from_json  # noqa: PLC0415 (slow to import, rarely needed)

        forecaster.model_ = model_from_json(files[PROPHET_JSON].decode())
    forecaster.miss_mw_ = array(content["miss_mw"])
    return forecaster


def _load_ensemble(content: Content, files: Mapping[str, bytes]) -> EnsembleForecaster:
    names = tuple(content["order"])
    loaders = [_LOADERS[name] for name in names]
    _require_files(files, MODEL_JSON, *([BOOSTER] if _load_lightgbm in loaders else []))
    forecaster = EnsembleForecaster(str(content["forecaster"]), names, seed=int(content["seed"]))
    forecaster.utility_ = utility_from_json(content["utility"])
    forecaster.names_ = names
    forecaster.members_ = tuple(loader(content["members"][name], files) for name, loader in zip(names, loaders, strict=True))
    forecaster.scale_mw_ = float(content["scale_mw"])
    forecaster.usual_mw_ = float(content["usual_mw"])
    forecaster.weights_ = array(content["weights"])
    forecaster.usual_error_ = array(content["usual_error"])
    forecaster.share_ = float(content["share"])
    forecaster.sharper_ = float(content["sharper"])
    forecaster.correction_ = correction_from_json(content["correction"])
    forecaster.usual_uncertainty_c_ = float(content.get("usual_uncertainty_c", "nan"))
    spread = content["spread"]
    unknown = (float("nan"),) * 3
    cold, mild, warm = unknown if spread["bounds"] is None else (float(bound) for bound in spread["bounds"])
    forecaster.spread_ = Spread((cold, mild, warm), array(spread["usual"]), array(spread["kind"]), array(spread["scores"]))
    achieved = content["achieved"]
    forecaster.achieved_ = Achieved(
        tuple(date.fromisoformat(day) for day in achieved["days"]),
        array(achieved["said"]),
        array(achieved["drawn"]),
        array(achieved["spread"]),
    )
    return forecaster


def _dump_member(member: Member) -> dict[str, Any]:
    if isinstance(member, LinearMember):
        return linear_to_json(member)
    if isinstance(member, LightGBMMember):
        return {"line": linear_to_json(member.line_)}
    if isinstance(member, KernelMember):
        return _dump_kernel(member)
    if isinstance(member, DepartureMember):
        return {
            "line": linear_to_json(member.line_),
            "kernel": _dump_kernel(member.kernel_),
            "rest": _dump_kernel(member.rest_),
            "usual": member.usual_,
            "seen": list(member.seen_),
            "days": [day.isoformat() for day in member.said_],
            "said": packed(np.stack(list(member.said_.values()))),
        }
    raise TypeError(f"no file format for {type(member).__name__}")


def _dump_kernel(member: KernelMember) -> dict[str, Any]:
    kernel = member.kernel_
    return {
        "kernel": {
            "groups": list(kernel.groups),
            "length": list(kernel.length.values()),
            "line": list(kernel.line.values()),
            "noise": kernel.noise,
        },
        "blocks": [
            {
                "hours": [block.first_hour, block.last_hour, block.parts],
                "widths": list(model.widths),
                "centre": packed(model.centre),
                "spread": packed(model.spread),
                "days": packed(model.standard, single=True),
                "weights": packed(model.weights),
                "usual": packed(model.usual),
            }
            for block, model in zip(member.blocks, member.models_, strict=True)
        ],
    }


def _load_linear(content: Content, _files: Mapping[str, bytes]) -> LinearMember:
    return linear_from_json(content)


def _load_kernel(content: Content, _files: Mapping[str, bytes]) -> KernelMember:
    stored = content["kernel"]
    length, line = (dict(zip(stored["groups"], stored[name], strict=True)) for name in ("length", "line"))
    kernel = Kernel(length, line, float(stored["noise"]))
    hours = [[int(hour) for hour in block["hours"]] for block in content["blocks"]]
    member = KernelMember(kernel.groups, tuple(Block(*of_block) for of_block in hours))
    member.kernel_ = kernel
    member.models_ = tuple(_load_block(kernel, block) for block in content["blocks"])
    return member


def _load_block(kernel: Kernel, content: Content) -> BlockModel:
    model = BlockModel(
        kernel,
        tuple(int(width) for width in content["widths"]),
        array(content["centre"]),
        array(content["spread"]),
        array(content["days"]),
        array(content["weights"]),
        array(content["usual"]),
    )
    if model.centre.shape != model.spread.shape or model.slopes.shape != (len(model.centre), len(model.usual)):
        raise ValueError("arrays of a block that do not fit together")
    return model


def _load_departure(content: Content, files: Mapping[str, bytes]) -> DepartureMember:
    member = DepartureMember()
    member.line_ = linear_from_json(content["line"])
    member.kernel_ = _load_kernel(content["kernel"], files)
    member.rest_ = _load_kernel(content["rest"], files)
    member.usual_ = float(content["usual"])
    lowest, highest = (float(value) for value in content["seen"])
    member.seen_ = (lowest, highest)
    days = [date.fromisoformat(day) for day in content["days"]]
    member.said_ = dict(zip(days, array(content["said"]), strict=True))
    return member


def _load_lightgbm(content: Content, files: Mapping[str, bytes]) -> LightGBMMember:
    member = LightGBMMember()
    member.line_ = linear_from_json(content["line"])
    member.booster_ = open_booster(files[BOOSTER], features=len(member.line_.columns_) + 1)
    return member


_LOADERS: Mapping[str, Callable[[Content, Mapping[str, bytes]], Member]] = {
    "linear": _load_linear,
    "kernel": _load_kernel,
    "departure": _load_departure,
    "lightgbm": _load_lightgbm,
}


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
