"""Is a report to be taken in? Levels 0 and 1, on the bytes of one delivery.

    0  authentic    an active key of that provider signed these bytes; not seen before; not from the future   (AML.T0010.002)
    1  valid        the documented format, within physics, of its time: nothing may rewrite the past          (ML01)

What signatures cannot tell, a liar with a valid key, is for the weather watch: levels 1 to 4 over whole histories, with the
fusion of those that are believed, live in `data.trust`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import timedelta

from sqlmodel import Session

from data.errors import ReportRefused
from data.weather_providers import ReportContent, UnverifiedReport, VerifiedReport, decode
from security.errors import KeyringError, SignatureInvalid
from security.keyring import require_active
from security.signing import verify_bytes

CLOCK_TOLERANCE = timedelta(minutes=5)
LONGEST_LOOK_BACK = timedelta(days=8)


def verify_report(session: Session, report: UnverifiedReport, seen_digests: Collection[str]) -> VerifiedReport:
    """Levels 0 and 1, in that order, on the same bytes. Raises ReportRefused with reason `unauthentic`, `revoked`,
    `replayed`, `invalid`, `misattributed`, `from_the_future` or `too_old`.
    """
    digest = hashlib.sha256(report.payload).hexdigest()
    try:
        key = require_active(session, report.key_id, "provider", report.provider)
    except KeyringError as error:
        raise _refused(report, "revoked", f"its key is not accepted: {error.problem}") from error
    try:
        verify_bytes(report.payload, report.signature, key)
    except SignatureInvalid as error:
        raise _refused(report, "unauthentic", "the signature is not of its key") from error
    if digest in seen_digests:
        raise _refused(report, "replayed", "this very report was delivered before")
    content = decode(report.payload, report.provider)
    if content.provider != report.provider:
        raise _refused(report, "misattributed", f"signed as {report.provider}, written as {content.provider}")
    _require_timely(report, content)
    return VerifiedReport(report.provider, report.key_id, report.received_at, digest, content)


def _require_timely(report: UnverifiedReport, content: ReportContent) -> None:
    """A provider speaks of now: the baseline that it is judged by cannot be rewritten later (AML.T0020)."""
    if content.issued_at > report.received_at + CLOCK_TOLERANCE:
        raise _refused(report, "from_the_future", f"issued at {content.issued_at}, received at {report.received_at}")
    oldest = min(content.issued_at, content.observed_from, content.forecast_from)
    if oldest < report.received_at - LONGEST_LOOK_BACK:
        raise _refused(report, "too_old", f"speaks of {oldest}, received at {report.received_at}")


def _refused(report: UnverifiedReport, reason: str, problem: str) -> ReportRefused:
    return ReportRefused(problem, provider=report.provider, reason=reason, mend="ask the provider; the report is kept")
