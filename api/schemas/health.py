"""Whether the service runs."""

from __future__ import annotations

from api.schemas.message import Message


class AliveAnswer(Message):
    """The process runs."""

    status: str = "alive"


class ReadyAnswer(Message):
    """Forecasts can be asked for; which model answers."""

    status: str = "ready"
    active_model_id: str
