"""What went wrong and somebody should look at."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Self

from pydantic import Field

from api.schemas.message import Message, Reason
from pipeline.incidents import Incident


class IncidentAnswer(Message):
    """An incident. state: open or closed; times: how often it happened while it was open; facts: of the last time."""

    incident_id: str
    kind: str
    subject: str
    state: str
    summary: str
    facts: dict[str, Any]
    times: int
    first_at: datetime
    last_at: datetime
    closed_at: datetime | None
    closed_by: str
    reason: str

    @classmethod
    def of(cls, incident: Incident) -> Self:
        """The answer about an incident."""
        told = incident.model_dump(exclude={"facts", "open_as"})
        return cls(**told, facts=json.loads(incident.facts))


class IncidentsAnswer(Message):
    """A page of incidents, newest first. next: path and query of the following page, null when the list ends."""

    incidents: list[IncidentAnswer]
    next: str | None


class CloseOrder(Message):
    """Why an incident is closed; it stands in the audit log."""

    reason: Reason = Field(examples=["the provider signed with a new key and is on probation"])
