"""What the routes of one service work with, made once and kept in `app.state.house`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from api.admission import Admission
from api.metrics import Metrics
from api.tracing import Tracing
from pipeline.checkpoints import Checkpoints
from pipeline.database import at_once, transaction
from pipeline.jobs import Jobs
from pipeline.open_guard import open_query_guard
from pipeline.serving import Clock, Serving
from pipeline.settings import Settings
from pipeline.station import witness
from pipeline.what_if import WhatIfs
from security.audit_writer import AuditWriter
from security.query_guard import QueryGuard
from security.rate_limit import RateLimiter
from security.shared_state import SharedState, open_shared_state


@dataclass(frozen=True)
class House:
    """A station that answers, and what guards and accounts for it.

    state: what all workers of the service know together; writer: the audit log's; jobs: long work; what_ifs: what the
    weather taught.
    """

    serving: Serving
    settings: Settings
    state: SharedState
    limiter: RateLimiter
    admission: Admission
    query_guard: QueryGuard
    writer: AuditWriter
    jobs: Jobs
    what_ifs: WhatIfs
    metrics: Metrics
    tracing: Tracing
    checkpoints: Checkpoints
    clock: Clock

    def start(self) -> None:
        """Begin with what is done beside the answers; asking works without it."""
        self.checkpoints.start()
        self.jobs.start()

    async def close(self) -> None:
        """End long work, and write what waits for the audit log."""
        self.jobs.close()
        self.writer.close()
        self.checkpoints.close()
        self.tracing.close()
        await self.limiter.close()
        await self.state.close()


def house_for(serving: Serving, settings: Settings) -> House:
    """What a service over `serving` works with. Raises UnavailableError, as for a tracing extra
    that is not installed, and KeyringError."""
    station = serving.station
    redis_url = settings.redis_url.get_secret_value()
    state = open_shared_state(redis_url)
    return House(
        serving=serving,
        settings=settings,
        state=state,
        limiter=RateLimiter(settings.rate_limit_per_minute, redis_url),
        admission=Admission(station, settings, state),
        query_guard=open_query_guard(station, state),
        writer=AuditWriter(
            partial(transaction, station.engine), partial(witness, station), partial(at_once, station.engine)
        ),
        jobs=Jobs(serving),
        what_ifs=WhatIfs(),
        metrics=Metrics(),
        tracing=Tracing(settings.traces_url),
        checkpoints=Checkpoints(station.engine),
        clock=serving.clock,
    )
