"""GET /healthz, GET /readyz: for whoever keeps the process running; no token, and nothing told but the model's id."""

from __future__ import annotations

from fastapi import APIRouter

from api.guards import ServingHere
from api.schemas.health import AliveAnswer, ReadyAnswer
from security.errors import UnavailableError

router = APIRouter(tags=["health"])


@router.get("/healthz")
def alive() -> AliveAnswer:
    """The process runs."""
    return AliveAnswer()


@router.get("/readyz")
def ready(serving: ServingHere) -> ReadyAnswer:
    """A verified model is loaded and the store answers; 503 otherwise."""
    try:
        serving.models()
    except Exception as error:  # Whatever the store raises: not ready.
        raise UnavailableError("the store does not answer", mend="look at the database, then ask again") from error
    return ReadyAnswer(active_model_id=serving.active_model_id)
