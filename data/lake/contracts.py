"""What rows must keep to be let into the lake: names, types, ranges, and that nothing is known before it can be.

Pandera judges whole batches: one broken row, and nothing of the batch is taken in (ML01, AML.T0059).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from data.errors import ContractBroken
from data.lake.tables import (
    DEMAND,
    FLAGGED,
    FLAGS,
    JUDGED_AT,
    KEY_ID,
    METER,
    METER_READINGS,
    PAYLOAD_SHA256,
    POWER_W,
    RECEIVED_AT,
    WEATHER,
    LakeTable,
)
from data.schema import AVAILABLE_AT, DEMAND_MW, ISSUED_AT, TEMPERATURE_C, TIMESTAMP, VALID_AT

if TYPE_CHECKING:
    import pandera.pandas as pandera

NAME = r"[A-Za-z0-9._-]{1,64}"
EARLIEST, LATEST = pd.Timestamp("1980-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC")
COLDEST_C, HOTTEST_C = -90.0, 60.0
# A thousand times the largest grid there is, so that only a wrong unit breaks it.
LARGEST_MW = 1e9
LARGEST_W = 1e15
SHOWN = 3


def keep_contract(table: LakeTable, frame: pd.DataFrame) -> None:
    """Raise ContractBroken, with the first rows at fault, unless every row may enter `table`."""
    import pandera.errors  # noqa: PLC0415 (takes more than a second)

    missing = [name for name in (table.source, *table.columns) if name not in frame.columns]
    if missing:
        raise ContractBroken(table.name, 0, f"columns are missing: {', '.join(missing)}")
    try:
        _contract_of(table.name).validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases
        told = [f"{case.column}: {case.check}, found {case.failure_case!r}" for case in cases.head(SHOWN).itertuples()]
        raise ContractBroken(table.name, len(cases), "; ".join(told)) from None


@cache
def _contract_of(name: str) -> pandera.DataFrameSchema:
    import pandera.pandas as pandera  # noqa: PLC0415 (as above)

    def moment(column: str) -> tuple[str, pandera.Column]:
        in_range = pandera.Check.in_range(EARLIEST, LATEST)
        return column, pandera.Column(pd.DatetimeTZDtype("us", "UTC"), in_range)

    def text(column: str, pattern: str) -> tuple[str, pandera.Column]:
        # Names repeat a million times: each is looked at once.
        keeps = pandera.Check(lambda values: values.isin(_matching(values, pattern)), name=f"matches {pattern}")
        return column, pandera.Column(None, keeps)

    def number(column: str, low: float, high: float, *, gaps: bool = False) -> tuple[str, pandera.Column]:
        return column, pandera.Column(np.float64, pandera.Check.in_range(low, high), nullable=gaps)

    def not_before(later: str, earlier: str) -> pandera.Check:
        return pandera.Check(lambda rows: rows[later] >= rows[earlier], name=f"{later} is not before {earlier}")

    contracts = {
        WEATHER.name: pandera.DataFrameSchema(
            dict(
                [
                    text(WEATHER.source, NAME),
                    moment(ISSUED_AT),
                    moment(VALID_AT),
                    number(TEMPERATURE_C, COLDEST_C, HOTTEST_C),
                    text(KEY_ID, r"[A-Za-z0-9._-]{0,64}"),
                    text(PAYLOAD_SHA256, r"([0-9a-f]{64})?"),
                ]
            )
        ),
        DEMAND.name: pandera.DataFrameSchema(
            dict(
                [
                    text(DEMAND.source, NAME),
                    moment(TIMESTAMP),
                    moment(AVAILABLE_AT),
                    number(DEMAND_MW, -LARGEST_MW, LARGEST_MW, gaps=True),
                ]
            ),
            checks=not_before(AVAILABLE_AT, TIMESTAMP),
        ),
        METER_READINGS.name: pandera.DataFrameSchema(
            dict(
                [
                    text(METER_READINGS.source, NAME),
                    text(METER, NAME),
                    moment(TIMESTAMP),
                    moment(RECEIVED_AT),
                    number(POWER_W, -LARGEST_W, LARGEST_W),
                ]
            ),
            checks=not_before(RECEIVED_AT, TIMESTAMP),
        ),
        FLAGGED.name: pandera.DataFrameSchema(
            dict(
                [
                    text(FLAGGED.source, NAME),
                    moment(VALID_AT),
                    (FLAGS, pandera.Column(np.int64, pandera.Check.ge(0))),
                    moment(JUDGED_AT),
                ]
            )
        ),
    }
    return contracts[name]


def _matching(values: pd.Series, pattern: str) -> list[str]:
    distinct = pd.Series(values.unique(), dtype="str")
    return distinct[distinct.str.fullmatch(pattern).fillna(False).astype(bool)].tolist()
