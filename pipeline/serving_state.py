"""What a station's database says about what may be answered now, never older than a second: whom not to believe, and which
models are in service.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from data.weather_fusion import Exclusion
from pipeline import registry
from pipeline.database import reading
from pipeline.provider_standings import exclusions_at
from pipeline.release_pins import pinned
from pipeline.station import Station
from security.errors import UnavailableError

TRUE_FOR_SECONDS = 1.0
LOOK_AHEAD_SECONDS = 0.5
NEVER = float("-inf")

_LOG = logging.getLogger("gridward.serving")


@dataclass(frozen=True)
class InService:
    """Which models answer, by role, and the release that says so; another one wherever any of them was replaced."""

    main: str
    fallback: str
    root: int
    targets: int


@dataclass(frozen=True)
class ServingState:
    """excluded: providers that are refused, and for which times."""

    excluded: Mapping[str, Exclusion]
    in_service: InService


def read_in_service(session: Session) -> InService:
    """Which models the registry has in service, and the highest release ever seen."""
    pin = pinned(session)
    return InService(
        main=registry.active_id(session),
        fallback=registry.active_id(session, "fallback"),
        root=0 if pin is None else pin.root,
        targets=0 if pin is None else pin.targets,
    )


def read_serving_state(station: Station, at: datetime) -> ServingState:
    """What the database says as of `at`. Raises UnavailableError."""
    with reading(station.engine) as session:
        return ServingState(exclusions_at(session, at), read_in_service(session))


class StateWatch:
    """Looks at the database when a second has passed since it last did, once for all who ask; nobody asks, nobody looks.

    read: looks, and raises UnavailableError; taken: told what was seen, before anybody is answered by it.
    """

    def __init__(self, read: Callable[[], ServingState], taken: Callable[[ServingState], None]) -> None:
        self._read, self._taken = read, taken
        self._looking = threading.Lock()
        self._looked_at = NEVER
        self._failed: tuple[float, UnavailableError | None] = (NEVER, None)

    def holds(self) -> bool:
        """Whether what was last seen still counts; no waiting. The next look begins before the second is over."""
        age = time.monotonic() - self._looked_at
        if LOOK_AHEAD_SECONDS < age <= TRUE_FOR_SECONDS and not self._looking.locked():
            threading.Thread(target=self._look_ahead, name="look ahead", daemon=True).start()
        return age <= TRUE_FOR_SECONDS

    def look(self) -> None:
        """Wait until what was last seen counts. Raises UnavailableError."""
        began = time.monotonic()
        if began - self._looked_at <= TRUE_FOR_SECONDS:
            return
        with self._looking:
            if self._looked_at >= began:
                return
            failed_at, why = self._failed
            if why is not None and failed_at >= began:
                # Who waited for a look that failed does not wait for another one.
                raise UnavailableError(why.problem, where=why.where, mend=why.mend)
            self._take()

    def look_again(self) -> None:
        """What was changed here counts from now on: a look that began before the change is not enough."""
        self._looked_at = NEVER
        with self._looking:
            self._looked_at = NEVER
            self._take()

    def _look_ahead(self) -> None:
        if self._looking.acquire(blocking=False):
            try:
                self._take()
            except UnavailableError as error:
                _LOG.warning("no look at the database: %s", error)
            finally:
                self._looking.release()

    def _take(self) -> None:
        began = time.monotonic()
        try:
            seen = self._read()
        except UnavailableError as error:
            self._failed = (time.monotonic(), error)
            raise
        self._taken(seen)
        self._looked_at = began
