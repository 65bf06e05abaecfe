"""GET /v1/incidents, /v1/incidents/{id}, POST …/close."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Path, Query, Request, Response
from sqlmodel import Session
from starlette.exceptions import HTTPException

from api.guards import Caller, ServingHere, account, guarded_router, needs
from api.pages import PageAsked, next_page, rows_of
from api.schemas.incidents import CloseOrder, IncidentAnswer, IncidentsAnswer
from api.schemas.message import PLAIN_ID
from pipeline import incidents
from pipeline.database import reading, transaction
from pipeline.incidents import Incident
from security.permissions import Permission

router = guarded_router("incidents")

IncidentId = Annotated[str, Path(max_length=40, pattern=PLAIN_ID, examples=["i-0123456789abcdef"])]
State = Annotated[Literal["open", "closed"] | None, Query(description="only these")]


@router.get("/v1/incidents", openapi_extra=needs(Permission.READ_INCIDENTS))
def list_incidents(
    serving: ServingHere, page: PageAsked, request: Request, response: Response, state: State = None
) -> IncidentsAnswer:
    """What went wrong, newest first."""
    with reading(serving.station.engine) as session:
        found, more = rows_of(page, lambda after, limit: incidents.page(session, after, limit, state))
    following = next_page(request, response, page, incidents.position_of(found[-1]) if more else None)
    return IncidentsAnswer(incidents=[IncidentAnswer.of(incident) for incident in found], next=following)


@router.get("/v1/incidents/{incident_id}", openapi_extra=needs(Permission.READ_INCIDENTS))
def read_incident(incident_id: IncidentId, serving: ServingHere) -> IncidentAnswer:
    """One incident."""
    with reading(serving.station.engine) as session:
        return IncidentAnswer.of(_known(session, incident_id))


@router.post("/v1/incidents/{incident_id}/close", openapi_extra=needs(Permission.CLOSE_INCIDENT, idempotent=True))
def close_incident(
    incident_id: IncidentId, order: CloseOrder, serving: ServingHere, caller: Caller, request: Request
) -> IncidentAnswer:
    """Close an incident and say why. One that was closed before: 409."""
    with transaction(serving.station.engine) as session:
        _known(session, incident_id)
        by, at = caller.subject, serving.clock()
        closed = incidents.close_incident(session, incident_id, by=by, reason=order.reason, at=at)
    account(request, action="incident.closed", subject=incident_id, reason=order.reason)
    return IncidentAnswer.of(closed)


def _known(session: Session, incident_id: str) -> Incident:
    incident = session.get(Incident, incident_id)
    if incident is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no incident of this id; GET /v1/incidents lists them")
    return incident
