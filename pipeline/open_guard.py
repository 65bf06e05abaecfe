"""The query guard of a service over a station: its secret from the key chest, its blocks from the database."""

from __future__ import annotations

from pipeline.database import transaction
from pipeline.guard_standings import blocks_standing
from pipeline.station import Station
from pipeline.watermark import guard_secret
from security.query_guard import QueryGuard
from security.shared_state import SharedState


def open_query_guard(station: Station, state: SharedState) -> QueryGuard:
    """A guard that knows the blocks that stand. Raises UnavailableError, KeyringError."""
    with transaction(station.engine) as session:
        blocked = blocks_standing(session)
    return QueryGuard(state, guard_secret(station.chest), blocked=blocked)
