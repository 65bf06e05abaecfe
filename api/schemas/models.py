"""Published models, and which one answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from api.schemas.message import Message
from pipeline.model_provenance import ModelProvenance


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
    """The main model that answers now, and a page of the published ones, newest first. next: path and query of the following
    page, null when the list ends.
    """

    active_model_id: str
    models: list[ModelAnswer]
    next: str | None = None


class GateAnswer(Message):
    """A gate that a model was put through. verdict: `passed`, `failed` or `not judged`."""

    name: str
    verdict: str
    why: str


class ModelProvenanceAnswer(ModelAnswer):
    """A published model, its bundle verified just now. problem: why it does not hold, empty when it does; card, gates,
    provenance: of one that holds, its model card (Markdown), its gates, and the SLSA provenance signed when it was made.
    """

    verified: bool
    problem: str
    card: str
    gates: list[GateAnswer]
    provenance: dict[str, Any]

    @classmethod
    def of(cls, found: ModelProvenance) -> Self:
        """The answer about a model of the registry."""
        return cls(
            **ModelAnswer.model_validate(found.record).model_dump(),
            verified=not found.problem,
            problem=found.problem,
            card=found.card,
            gates=[GateAnswer.model_validate(gate) for gate in found.gates],
            provenance=dict(found.provenance),
        )


class ReloadAnswer(Message):
    """The model that answers from now on."""

    active_model_id: str
