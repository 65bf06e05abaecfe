"""Published models, and which one answers."""

from __future__ import annotations

from datetime import datetime

from api.schemas.message import Message


class ModelAnswer(Message):
    """A published model. as_of: nothing known later went into it."""

    model_id: str
    role: str
    forecaster: str
    state: str
    snapshot_id: str
    weather_policy: str
    as_of: datetime
    published_at: datetime
    published_by: str


class ModelsAnswer(Message):
    """The main model that answers now, and every published one, newest first."""

    active_model_id: str
    models: list[ModelAnswer]


class ReloadAnswer(Message):
    """The model that answers from now on."""

    active_model_id: str
