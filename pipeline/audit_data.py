"""Audit a frozen snapshot for poison: which blocks, a source's local week each, pull the model or fit nothing around them.

    demand      retrained without each week (forecasting.block_influence)       offset, shape, pull
    providers   each against the middle of the others (data.poison)            offset, shape
    both        the same week elsewhere, or some hours earlier or later          duplicate, shifted

Nothing clean is needed to compare with. docs/poison-audit.md says what is found, how often, and what is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd

from data.poison.duplicates import copies_only, likenesses
from data.poison.evidence import Evidence, pull_evidence, quieter, strongest, upper
from data.poison.lags import best_lags
from data.poison.offsets import swelling
from data.poison.weather_blocks import (
    against_itself,
    against_others,
    climatology,
    freed_from_bias,
    middle_of_others,
    pattern_evidence,
    shape_evidence,
    stepwise_evidence,
)
from data.schema import DEMAND_MW, MILD_C, TEMPERATURE_C, Array, Flags, Integers, Utility
from data.snapshots import Snapshot
from data.weather_fusion import exclude
from forecasting.block_influence import Influence, WeekGrid, influence
from pipeline.weather_policy import WeatherContract

DEMAND, DUPLICATE = "demand", "duplicate"
AN_HOUR = pd.Timedelta(hours=1)
# Of 100 clean blocks, one is further out. Chosen on 2012–2013 (docs/poison-audit.md).
SUSPECT_FROM = 3.25
# In so many ways all weeks rise and fall alike (docs/poison-audit.md).
COMMON_WAYS = 20


@dataclass(frozen=True)
class Block:
    """One source's local week. monday: its first day; kind: of the test it fails worst; score: how far out it is there
    [robust σ]; statistic: what that test measured; pull_percent, mild_pull_percent: how much higher the model forecasts
    because it learned from this week, over all hours and in mild ones [%]; twin: the week it repeats, if any.
    """

    source: str
    monday: date
    kind: str
    score: float
    statistic: float
    pull_percent: float
    mild_pull_percent: float
    suspect: bool
    twin: date | None


@dataclass(frozen=True)
class DataAudit:
    """Every block, the most suspicious first, and what the reader must know of how they were judged."""

    snapshot_id: str
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Case:
    """A source's evidence by week, and the number of the week most like each, −1 for none."""

    evidence: list[Evidence]
    twin: Integers


def audit_data(snapshot: Snapshot, utility: Utility) -> DataAudit:
    """Judge every block of a snapshot by the others. utility: whose demand it is. Raises TooLittleHistory."""
    training = snapshot.training
    coarse = replace(utility, step=AN_HOUR)
    frame = training[[DEMAND_MW, TEMPERATURE_C]].resample(coarse.step).mean()
    grid, fine = WeekGrid.of(_index(frame), coarse), WeekGrid.of(_index(training), utility)
    learned = influence(frame, grid, coarse)
    readings, notes = _readings_used(snapshot)
    cases = {DEMAND: _demand_case(learned, grid, fine, training, frame)}
    cases |= _weather_cases(readings, learned, grid, fine, coarse)
    return DataAudit(snapshot.snapshot_id, _ranked(cases, learned, grid), notes)


def _demand_case(learned: Influence, grid: WeekGrid, fine: WeekGrid, training: pd.DataFrame, frame: pd.DataFrame) -> _Case:
    """The meters' weeks: what the model without a week makes of it."""
    unusual, departed = learned.unusual, learned.departed
    temperature = grid.fold(frame[TEMPERATURE_C].to_numpy(dtype=np.float64))
    mild = (temperature >= MILD_C[0]) & (temperature <= MILD_C[1])
    gain, hours = best_lags(grid.fold(frame[DEMAND_MW].to_numpy(dtype=np.float64)), learned.expected_mw)
    fine_alterations = [
        stepwise_evidence("demand offset", departed, np.ones(departed.shape), unusual),
        stepwise_evidence("demand offset", departed, swelling(*departed.shape), unusual),
    ]
    gross_alterations = [
        pattern_evidence("mild offset", departed, np.where(mild, 1.0, 0.0), unusual),
        pattern_evidence("weather unlike demand", departed, learned.per_degree, unusual),
        shape_evidence("demand shape", departed, unusual),
        pull_evidence("pull", learned.pull_percent, unusual),
        pull_evidence("mild pull", learned.mild_pull_percent, unusual),
        Evidence("shifted", upper("shifted", gain, unusual).score, hours),
    ]
    evidence = [*fine_alterations, *(quieter(item) for item in gross_alterations)]
    return _with_copies(evidence, fine.fold(training[DEMAND_MW].to_numpy(dtype=np.float64)), unusual)


def _weather_cases(
    readings: Mapping[str, tuple[pd.Series, bool]], learned: Influence, grid: WeekGrid, fine: WeekGrid, utility: Utility
) -> dict[str, _Case]:
    """The providers' weeks. readings: by name, what it said, and whether the contract uses it; a witness otherwise."""
    if not readings:
        return {}
    wide = pd.DataFrame({name: values for name, (values, _) in readings.items()})
    coarse = wide.resample(utility.step).mean()
    week_of_row = grid.week_of_day[grid.days.day_of_row].astype(np.float64)
    freed = freed_from_bias(coarse, week_of_row, utility)
    alike = np.zeros(len(grid.mondays), dtype=np.bool_)
    local = utility.local(_index(coarse)).tz_localize(None)
    cases = {}
    for name in (name for name, (_, used) in readings.items() if used):
        said = coarse[name].to_numpy(dtype=np.float64)
        others = middle_of_others(freed, name)
        if np.isfinite(others).any():
            evidence = against_others(grid.fold(freed[name].to_numpy(dtype=np.float64)), grid.fold(others), alike)
        else:
            usual = climatology(said, local)
            evidence = against_itself(grid.fold(said), grid.fold(usual), learned.departed, learned.per_degree, alike)
        cases[name] = _with_copies(evidence, fine.fold(wide[name].to_numpy(dtype=np.float64)), alike)
    return cases


def _with_copies(evidence: Sequence[Evidence], values: Array, alike: Flags) -> _Case:
    """Evidence with what likeness to other weeks adds. values: by slot, shape (weeks, slots of a week)."""
    misfit, _, _ = strongest(evidence)
    plain, fine = (_copies(values, common, misfit, alike) for common in (0, COMMON_WAYS))
    closer = fine.evidence[0].score > plain.evidence[0].score
    return _Case([*evidence, *plain.evidence, *fine.evidence], np.where(closer, fine.twin, plain.twin))


def _copies(values: Array, common: int, misfit: Array, alike: Flags) -> _Case:
    likeness, twin = likenesses(values, common)
    score = copies_only(upper(DUPLICATE, likeness, alike).score, twin, misfit)
    return _Case([quieter(Evidence(DUPLICATE, score, np.tanh(likeness)))], twin)


def _readings_used(snapshot: Snapshot) -> tuple[dict[str, tuple[pd.Series, bool]], tuple[str, ...]]:
    """See _weather_cases; and notes on who could be held against whom."""
    contract = WeatherContract.from_json(snapshot.facts["weather"])
    index = _index(snapshot.training)
    said = exclude(snapshot.readings, contract.excluded).reindex(index)
    names = sorted(str(name) for name in said.columns if said[name].notna().any())
    trusted = contract.policy.trusted_provider
    readings = {name: (said[name], not trusted or name == trusted) for name in names}
    notes = []
    if not names:
        notes.append("no provider's readings: only demand was judged, by the calendar and what weather there is")
    elif len(names) == 1:
        notes.append(f"{names[0]} is alone: only its own past and demand can contradict it, and demand itself is less sure")
    elif len(names) == 2:
        notes.append("two providers: where they disagree, both are accused alike")
    return readings, tuple(notes)


def _ranked(cases: Mapping[str, _Case], learned: Influence, grid: WeekGrid) -> tuple[Block, ...]:
    blocks = []
    for source, case in cases.items():
        scores, kinds, statistics = strongest(case.evidence)
        for week, monday in enumerate(grid.mondays):
            is_copy = kinds[week] == DUPLICATE
            blocks.append(
                Block(
                    source=source,
                    monday=monday,
                    kind=kinds[week],
                    score=float(scores[week]),
                    statistic=float(statistics[week]),
                    pull_percent=float(learned.pull_percent[week]),
                    mild_pull_percent=float(learned.mild_pull_percent[week]),
                    suspect=bool(scores[week] >= SUSPECT_FROM),
                    twin=grid.mondays[int(case.twin[week])] if is_copy else None,
                )
            )
    return tuple(sorted(blocks, key=lambda block: (-block.score, block.source, block.monday)))


def _index(frame: pd.DataFrame) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(frame.index)
