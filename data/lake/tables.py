"""The tables of the lake: which readings stand in each, and how they are parted and ordered.

    weather          what a provider said                       by provider
    demand           the utility's demand, in all its versions  by where it comes from: `meters`, or `file`
    meter_readings   what the meters sent, as they sent it      by head-end
    flags            what the weather watch forbids to use      by provider; flags 0 takes an earlier flag back

Rows are added and never changed: a late or corrected reading is another row, told from the first by when it was known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from data.schema import AVAILABLE_AT, DEMAND_MW, ISSUED_AT, PROVIDER, TEMPERATURE_C, TIMESTAMP, VALID_AT

KEY_ID = "key_id"
PAYLOAD_SHA256 = "payload_sha256"
SOURCE = "source"
METER = "meter"
RECEIVED_AT = "received_at"
POWER_W = "power_w"
FLAGS = "flags"
JUDGED_AT = "judged_at"
MONTH = "month"

_MOMENT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class LakeTable:
    """source: the column that names who sent a row; moment: the one whose month parts the files, UTC; columns: Arrow types
    of all but the source; order: how rows stand in a frame that is read.
    """

    name: str
    source: str
    moment: str
    columns: Mapping[str, pa.DataType]
    order: tuple[str, ...]

    def arrow_schema(self) -> pa.Schema:
        """As the Delta table has it; its partition columns, source and month, last."""
        return pa.schema([*self.columns.items(), (self.source, pa.string()), (MONTH, pa.string())])


WEATHER = LakeTable(
    name="weather",
    source=PROVIDER,
    moment=VALID_AT,
    # issued_at is the moment of receipt: nothing a provider wrote earlier was known here before.
    columns={
        ISSUED_AT: _MOMENT,
        VALID_AT: _MOMENT,
        TEMPERATURE_C: pa.float64(),
        KEY_ID: pa.string(),
        PAYLOAD_SHA256: pa.string(),
    },
    order=(PROVIDER, VALID_AT, ISSUED_AT),
)
DEMAND = LakeTable(
    name="demand",
    source=SOURCE,
    moment=TIMESTAMP,
    columns={TIMESTAMP: _MOMENT, DEMAND_MW: pa.float64(), AVAILABLE_AT: _MOMENT},
    order=(TIMESTAMP, AVAILABLE_AT),
)
METER_READINGS = LakeTable(
    name="meter_readings",
    source=SOURCE,
    moment=TIMESTAMP,
    columns={METER: pa.string(), TIMESTAMP: _MOMENT, RECEIVED_AT: _MOMENT, POWER_W: pa.float64()},
    order=(TIMESTAMP, METER, RECEIVED_AT),
)
FLAGGED = LakeTable(
    name="flags",
    source=PROVIDER,
    moment=JUDGED_AT,
    columns={VALID_AT: _MOMENT, FLAGS: pa.int64(), JUDGED_AT: _MOMENT},
    order=(PROVIDER, VALID_AT, JUDGED_AT),
)
TABLES = (WEATHER, DEMAND, METER_READINGS, FLAGGED)
TABLES_BY_NAME = {table.name: table for table in TABLES}
