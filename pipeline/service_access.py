"""How our own programs ask the service: as `service:NAME`, with tokens of two minutes, like everybody else.

Nothing is trusted for coming from loopback, or for running as the station's user (AML.T0012): a program that the operator
starts shows who it is, may do what its role may, and stands in the audit log.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pipeline.station import Station
from security.identity import SERVICE_LIFETIME, Role, issue_service_token

_RENEWED_BEFORE_END = timedelta(seconds=30)


class ServiceAccess:
    """One program's access in one role; the token is renewed while it still has half a minute.

    The signing key is read from the chest for each token: it may have been replaced since.
    """

    def __init__(self, station: Station, name: str, role: Role) -> None:
        self._station, self._name, self._role = station, name, role
        self._header = ""
        self._renewed_at = datetime.fromtimestamp(0, UTC)

    def headers(self, now: datetime | None = None) -> dict[str, str]:
        """The headers of the next request at `now` (UTC; default: the clock)."""
        moment = now or datetime.now(UTC)
        if moment >= self._renewed_at:
            signer = self._station.chest.signer("token")
            self._header = f"Bearer {issue_service_token(signer, self._name, self._role, moment)}"
            self._renewed_at = moment + SERVICE_LIFETIME - _RENEWED_BEFORE_END
        return {"Authorization": self._header}
