"""GET /v1/snapshots, /v1/snapshots/{id}."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Path, Request, Response
from starlette.exceptions import HTTPException

from api.guards import ServingHere, guarded_router, needs
from api.pages import PageAsked, next_page, rows_of
from api.schemas.message import PLAIN_ID
from api.schemas.snapshots import SnapshotAnswer, SnapshotProvenanceAnswer, SnapshotsAnswer
from pipeline import snapshot_provenance
from pipeline.database import reading
from security.permissions import Permission

router = guarded_router("snapshots")


@router.get("/v1/snapshots", openapi_extra=needs(Permission.READ_SNAPSHOTS))
def list_snapshots(serving: ServingHere, page: PageAsked, request: Request, response: Response) -> SnapshotsAnswer:
    """Every frozen training set, newest first, and the last moment of each source in it."""
    with reading(serving.station.engine) as session:
        records, more = rows_of(page, lambda after, limit: snapshot_provenance.page(session, after, limit))
    ended = snapshot_provenance.position_of(records[-1]) if more else None
    following = next_page(request, response, page, ended)
    return SnapshotsAnswer(snapshots=[SnapshotAnswer.of(record) for record in records], next=following)


@router.get("/v1/snapshots/{snapshot_id}", openapi_extra=needs(Permission.READ_SNAPSHOTS))
def read_snapshot(
    snapshot_id: Annotated[str, Path(max_length=64, pattern=PLAIN_ID)], serving: ServingHere
) -> SnapshotProvenanceAnswer:
    """What a training set was made from, and whether it still holds, byte for byte: `verified`, or the `problem`."""
    found = snapshot_provenance.provenance(serving.station, snapshot_id)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no snapshot of this id; GET /v1/snapshots lists them")
    return SnapshotProvenanceAnswer.of(found)
