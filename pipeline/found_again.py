"""Begin the releases anew from what the registry says is in service: for a demonstration's station without its keys.

It gives up what the pins and the operators of before protected, so it is never done unasked, never where real operators
decide, and it stands in the audit log. Killed anywhere, it is done again.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

from pipeline import registry
from pipeline.database import transaction
from pipeline.errors import NoActiveModel, PipelineError
from pipeline.promotion import DEMO_OPERATORS, THRESHOLD, demo_operators, found_in, note_founded
from pipeline.publish import read_model
from pipeline.releases import online_signer, repository_of
from pipeline.station import Station, witness
from security.audit_log import append
from security.release_repository import propose, publish
from security.release_rotation import operators

GIVEN_UP = ".registry.given-up"


def found_again(station: Station, *, by: str, reason: str, at: datetime) -> None:
    """Begin anew where demo operators decide. Raises PipelineError where real ones do, NoActiveModel, and as `refound`."""
    folder = repository_of(station)
    # Killed between the two renames, the old one lies aside.
    real = sorted(set(operators(folder if folder.exists() else folder.with_name(GIVEN_UP))) - set(DEMO_OPERATORS))
    if real:
        raise PipelineError(
            f"{', '.join(real)} decide here",
            where="registry",
            mend="have them sign `gridward registry rotate-root --new-online-key`",
        )
    refound(station, by=by, reason=reason, at=at)


def refound(station: Station, *, by: str, reason: str, at: datetime) -> None:
    """Build a repository that releases what is in service, trust it, and put it in the place of the old one.

    Every bundle is verified before anything is given up. Raises NoActiveModel, and as `read_model`.
    """
    with transaction(station.engine) as session:
        in_service = {role: registry.active_id(session, role) for role in ("main", "fallback")}
    if not in_service["main"]:
        raise NoActiveModel
    digests = {role: read_model(station, model_id).digest for role, model_id in in_service.items() if model_id}
    folder = repository_of(station)
    fresh, given_up = folder.with_name(".registry.new"), folder.with_name(GIVEN_UP)
    shutil.rmtree(fresh, ignore_errors=True)
    bootstrap = found_in(station, fresh)
    for signer in demo_operators(station, DEMO_OPERATORS[:THRESHOLD]):
        propose(fresh, digests, signer, datetime.now(UTC))
    publish(fresh, online_signer(station), datetime.now(UTC))
    with transaction(station.engine) as session:
        append(session, actor=by, action="registry.given-up", subject="registry", details={"reason": reason}, at=at)
        note_founded(session, station, bootstrap, by=by, at=at)
    if folder.exists():
        shutil.rmtree(given_up, ignore_errors=True)
        folder.rename(given_up)
    fresh.rename(folder)
    shutil.rmtree(station.release_client, ignore_errors=True)
    shutil.rmtree(given_up, ignore_errors=True)
    witness(station, at)
