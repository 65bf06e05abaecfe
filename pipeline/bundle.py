"""What a bundle holds, format 1: texts and numbers, nothing that could be executed.

    model.json, …   the model itself, as `forecasting.model_files` writes it
    bundle.json     format version, forecaster, role
    features.json   the feature contract: what the model is to be asked with, and what it answers
    golden.json     a day it was asked at publication, and its answer (`forecasting.golden`)
    card.md         the model card, for people

The contract is drawn again from the loaded model and compared: a model that this code would feed otherwise than it was
trained is refused, however well it is signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd

from data.schema import (
    DEMAND_MW,
    FORECAST_TEMPERATURE_C,
    QUANTILES,
    TEMPERATURE_C,
    TEMPERATURE_UNCERTAINTY_C,
    Utility,
)
from forecasting.arrays import utility_to_json
from forecasting.day_grid import known_until_gate, window_days
from forecasting.errors import ModelFileRefused
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS
from forecasting.golden import GOLDEN_JSON, golden_json
from forecasting.model_files import Restorable, dump, load
from forecasting.strict_json import exactly, fields, parsed, refusing, text
from security.manifest import canonical_json

FORMAT_VERSION = 1
BUNDLE_JSON, FEATURES_JSON, CARD = "bundle.json", "features.json", "card.md"
# Around the model's own files, which `forecasting.model_files` names.
AROUND = (BUNDLE_JSON, FEATURES_JSON, GOLDEN_JSON, CARD)

_LARGEST_FACTS_BYTES, _MOST_FACTS, _LONGEST_FACT = 1024, 10, 40


@dataclass(frozen=True)
class BundleFacts:
    """What a bundle says of itself. role: `main` or `fallback`."""

    role: str
    forecaster: str


def bundle_files(forecaster: Restorable, role: str, training: pd.DataFrame, facts: Mapping[str, object]) -> dict[str, bytes]:
    """Every file of a new bundle: name → content.

    training: what the forecaster learned from; its last whole local day is the golden one. facts: what the manifest says
    (`pipeline.publish`), of which the card tells the part that people read.
    """
    utility = forecaster.utility_
    day = _last_whole_day(training, utility)
    known = known_until_gate(training.drop(columns=[FORECAST_TEMPERATURE_C], errors="ignore"), utility, day)
    own = {"format": FORMAT_VERSION, "forecaster": forecaster.name, "role": role}
    return {
        **dump(forecaster),
        BUNDLE_JSON: canonical_json(own),
        FEATURES_JSON: canonical_json(feature_contract(forecaster)),
        GOLDEN_JSON: golden_json(forecaster, known, day),
        CARD: _card(forecaster, role, training, facts).encode("utf-8"),
    }


def read_facts(files: Mapping[str, bytes]) -> BundleFacts:
    """What `bundle.json` says, before anything else of the bundle is parsed. Raises ModelFileRefused."""
    with refusing(BUNDLE_JSON):
        found = parsed(files.get(BUNDLE_JSON, b""), most_bytes=_LARGEST_FACTS_BYTES, most_parts=_MOST_FACTS)
        # Asked first: another format may well hold other facts.
        if isinstance(found, dict):
            exactly(found.get("format"), "format", FORMAT_VERSION)
        own = fields(found, "", ("format", "forecaster", "role"))
        facts = BundleFacts(text(own["role"], "role", _LONGEST_FACT), text(own["forecaster"], "forecaster", _LONGEST_FACT))
    missing = [name for name in AROUND if name not in files]
    if missing:
        raise ModelFileRefused(f"{missing[0]} is missing", part=BUNDLE_JSON)
    return facts


def restore(files: Mapping[str, bytes]) -> Restorable:
    """The forecaster of a bundle whose bytes were verified and tried. Raises ModelFileRefused."""
    facts = read_facts(files)
    forecaster = load(model_part(files))
    if forecaster.name != facts.forecaster:
        raise ModelFileRefused(f"holds a {forecaster.name}, and says {facts.forecaster}", part=BUNDLE_JSON)
    if canonical_json(feature_contract(forecaster)) != files[FEATURES_JSON]:
        raise ModelFileRefused("the model would be asked otherwise than it was trained to be", part=FEATURES_JSON)
    return forecaster


def model_part(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The model's own files of a bundle."""
    return {name: content for name, content in files.items() if name not in AROUND}


def feature_contract(forecaster: Restorable) -> dict[str, Any]:
    """What a forecaster is asked with and what it answers: names, units, time; see forecasting.forecaster."""
    utility = forecaster.utility_
    weather = [TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C] if forecaster.needs_weather else []
    return {
        "utility": utility_to_json(utility),
        "known_columns": [DEMAND_MW, *weather],
        "window_days": window_days(utility),
        "answered_columns": [FORECAST_MW, *QUANTILE_COLUMNS],
        "quantiles": list(QUANTILES),
        "index": "UTC start of each interval",
    }


def _last_whole_day(training: pd.DataFrame, utility: Utility) -> date:
    last: date = utility.local(pd.DatetimeIndex(training.index))[-1].date()
    return last if utility.day_index(last)[-1] <= training.index[-1] else last - timedelta(days=1)


def _card(forecaster: Restorable, role: str, training: pd.DataFrame, facts: Mapping[str, object]) -> str:
    """The model card: what a person wants to know before approving it (Mitchell et al. 2019, the parts that apply)."""
    utility, demand = forecaster.utility_, training[DEMAND_MW]
    told = {
        "forecaster": f"{forecaster.name}, seed {forecaster.seed}",
        "role": role,
        "utility": f"{utility.timezone}, step {utility.step}, gate closure {utility.gate_closure}",
        "learned from": f"{training.index[0]:%Y-%m-%d} to {training.index[-1]:%Y-%m-%d} (UTC), {len(training)} intervals",
        "demand learned from": f"{demand.min():.0f} to {demand.max():.0f} MW, {demand.isna().mean():.2%} missing",
        **{key.replace("_", " "): value for key, value in sorted(facts.items()) if isinstance(value, str | int)},
    }
    lines = [f"- **{name}**: {value}" for name, value in told.items()]
    return "\n".join(
        [
            "# Model card",
            "",
            *lines,
            "",
            "**For**: day-ahead demand of this utility, nine deciles a day, asked with what was known at the gate closure.",
            "",
            "**Not for**: another utility, another step, or temperatures far outside those learned from: the quantiles are",
            "calibrated on the past. A signature on this bundle says who sealed it, not that its readings were true.",
            "",
        ]
    )
