"""A file of one's own as a provider: for replays, and for providers that deliver by other ways than HTTP.

The file is taken by `data.files.read_weather`, with all of docs/data-contract.md. Its `issued_at` stand as they are, since
a history tells itself when each value became known; one that claims to be issued later than now is refused.
"""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from data.errors import FileRefused, ProviderFailed, ProviderReason
from data.files import read_weather
from data.providers.checks import answer_of, require_in_order
from data.providers.http import Delivery
from data.providers.protocol import LastAnswer, ProviderAnswer
from data.schema import ISSUED_AT

LARGEST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class WeatherFileProvider:
    """One weather file of at most 64 MiB. key_id: None for the operator's own file, which no key record stands for."""

    path: Path
    name: str
    key_id: str | None = None

    def fetch(self, now: datetime, last: LastAnswer | None = None) -> ProviderAnswer:
        """Read the file at `now` (UTC). Raises ProviderFailed: `unreachable`, `too_large`, `malformed`, `from_the_future`,
        or `replayed` where the newest issue is older than the last accepted one.
        """
        payload = self._bytes()
        delivery = Delivery(self.name, self.path.absolute().as_uri(), now, payload, None, None, not_modified=False)
        # What is parsed are the bytes that the digest is of, whatever happens to the file meanwhile.
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, f"weather{self.path.suffix}")
            copy.write_bytes(payload)
            try:
                frame = read_weather(copy, self.name).frame
            except FileRefused as error:
                place = f"row {error.row}: " if error.row else ""
                raise delivery.refusal("malformed", f"{place}{error.problem}", error.mend) from error
        updated_at = frame[ISSUED_AT].max().to_pydatetime()
        require_in_order(delivery, updated_at, last)
        return answer_of(delivery, self.key_id, updated_at, frame)

    def _bytes(self) -> bytes:
        """All of a regular file: opened without waiting, so that a pipe in its place cannot hold us."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise self._failed(
                "unreachable", f"cannot be opened: {error.strerror}", "check the path and its rights"
            ) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self._failed("unreachable", "is not a regular file", "check the path")
        with os.fdopen(descriptor, "rb") as file:
            payload = file.read(LARGEST_BYTES + 1)
        if len(payload) > LARGEST_BYTES:
            raise self._failed("too_large", "is larger than 64 MiB", "keep the years you need")
        return payload

    def _failed(self, reason: ProviderReason, problem: str, mend: str) -> ProviderFailed:
        return ProviderFailed(problem, provider=self.name, reason=reason, mend=mend, url=self.path.absolute().as_uri())
