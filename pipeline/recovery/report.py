"""What came of a recovery: drawn from the journal alone, so that it can be written again whenever it is missing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.recovery.gates import Gate, gates_from_json
from pipeline.recovery.journal import RecoveryRecord
from pipeline.recovery.plan import RecoveryPlan
from pipeline.station import Station

FOLDER = "recoveries"


@dataclass(frozen=True)
class RecoveryReport:
    """A recovery as it stands. outcome: `done`, `refused` or `failed`; model_id: the recovered model, empty before it was
    trained; withdrawn: models that learned from the lie; seconds: of work, by the state that each step led to.
    """

    plan: RecoveryPlan
    state: str
    outcome: str
    model_id: str
    judged_against: str
    gates: tuple[Gate, ...]
    withdrawn: tuple[str, ...]
    seconds: dict[str, float]
    problem: str
    started_at: datetime
    finished_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        """As it is printed and written."""
        return {
            "outcome": self.outcome,
            "state": self.state,
            "model": self.model_id,
            "judged_against": self.judged_against,
            "gates": [vars(gate) for gate in self.gates],
            "withdrawn": list(self.withdrawn),
            "seconds": self.seconds,
            "seconds_in_all": round(sum(self.seconds.values()), 3),
            "problem": self.problem,
            "started_at": self.started_at.isoformat(),
            "finished_at": None if self.finished_at is None else self.finished_at.isoformat(),
            "plan": self.plan.to_json_object(),
        }


def report_of(record: RecoveryRecord) -> RecoveryReport:
    """The report that a row of the journal amounts to."""
    return RecoveryReport(
        plan=RecoveryPlan.from_json(record.plan),
        state=record.state,
        outcome=record.outcome,
        model_id=record.model_id,
        judged_against=record.judged_against,
        gates=gates_from_json(record.gates),
        withdrawn=tuple(json.loads(record.withdrawn)),
        seconds=json.loads(record.seconds),
        problem=record.problem,
        started_at=record.started_at,
        finished_at=record.finished_at,
    )


def report_path(station: Station, recovery_id: str) -> Path:
    """Where the report of a recovery is written."""
    return station.home / FOLDER / recovery_id / "report.json"


def write_report(station: Station, report: RecoveryReport) -> Path:
    """Write a report whole or not at all, in the place of the former."""
    path = report_path(station, report.plan.recovery_id)
    content = json.dumps(report.to_json(), indent=2) + "\n"
    if path.exists() and path.read_text() == content:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(content)
    draft.replace(path)
    return path
