"""Is a report to be taken in? Its signature, its format, its time."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import Session

from data.errors import ReportRefused
from data.weather_providers import ReportContent, UnverifiedReport, encode
from data.weather_trust import verify_report
from security.keyring import register_key, revoke_keys_of
from security.signing import Signer, new_signer, sign_bytes

ISSUED = datetime(2014, 3, 1, 21, tzinfo=UTC)
RECEIVED = ISSUED + timedelta(minutes=10)


@pytest.fixture
def signer(session: Session) -> Signer:
    return registered(session, "aurora")


def registered(session: Session, owner: str) -> Signer:
    signer = new_signer()
    key = signer.public_key
    register_key(session, purpose="provider", owner=owner, public_key=key, by="ops", reason="contract", at=ISSUED)
    return signer


def content_of(**changes: object) -> ReportContent:
    content = ReportContent(
        format=1,
        provider="aurora",
        issued_at=ISSUED,
        step_minutes=30,
        observed_from=ISSUED - timedelta(hours=1),
        observed_c=[14.2, 14.0],
        forecast_from=ISSUED,
        forecast_c=[13.5],
    )
    return content.model_copy(update=changes)


def delivery(content: ReportContent, signer: Signer, provider: str = "aurora") -> UnverifiedReport:
    payload = encode(content)
    return UnverifiedReport(provider, signer.key_id, RECEIVED, payload, sign_bytes(payload, signer))


def reason_of(session: Session, report: UnverifiedReport, seen: frozenset[str] = frozenset()) -> str:
    with pytest.raises(ReportRefused) as refusal:
        verify_report(session, report, seen)
    assert refusal.value.provider == report.provider
    return refusal.value.reason


def test_a_report_signed_by_its_providers_active_key_is_verified(session: Session, signer: Signer):
    report = delivery(content_of(), signer)
    verified = verify_report(session, report, frozenset())
    assert verified.content == content_of()
    assert verified.digest == hashlib.sha256(report.payload).hexdigest()
    assert (verified.provider, verified.key_id, verified.received_at) == ("aurora", signer.key_id, RECEIVED)


def test_another_keys_signature_is_unauthentic(session: Session, signer: Signer):
    good = delivery(content_of(), signer)
    forged = delivery(content_of(), new_signer())
    assert reason_of(session, UnverifiedReport("aurora", signer.key_id, RECEIVED, good.payload, forged.signature)) == (
        "unauthentic"
    )


def test_a_payload_changed_after_signing_is_unauthentic(session: Session, signer: Signer):
    good = delivery(content_of(), signer)
    changed = good.payload.replace(b"14.2", b"17.2")
    assert reason_of(session, UnverifiedReport("aurora", signer.key_id, RECEIVED, changed, good.signature)) == "unauthentic"


@pytest.mark.usefixtures("signer")
def test_a_key_that_was_never_registered_is_not_accepted(session: Session):
    assert reason_of(session, delivery(content_of(), new_signer())) == "revoked"


def test_a_revoked_key_is_not_accepted(session: Session, signer: Signer):
    revoke_keys_of(session, "provider", "aurora", by="ops", reason="compromised", at=ISSUED)
    assert reason_of(session, delivery(content_of(), signer)) == "revoked"


@pytest.mark.usefixtures("signer")
def test_another_providers_key_is_not_accepted(session: Session):
    other = registered(session, "boreas")
    assert reason_of(session, delivery(content_of(), other)) == "revoked"


def test_the_very_same_report_is_taken_once(session: Session, signer: Signer):
    report = delivery(content_of(), signer)
    verified = verify_report(session, report, frozenset())
    assert reason_of(session, report, frozenset({verified.digest})) == "replayed"


def test_a_report_in_another_providers_name_is_misattributed(session: Session, signer: Signer):
    assert reason_of(session, delivery(content_of(provider="boreas"), signer)) == "misattributed"


def test_a_well_signed_report_outside_the_format_is_invalid(session: Session, signer: Signer):
    payload = encode(content_of()).replace(b"14.2", b"99.9")
    report = UnverifiedReport("aurora", signer.key_id, RECEIVED, payload, sign_bytes(payload, signer))
    assert reason_of(session, report) == "invalid"


@pytest.mark.parametrize(("ahead", "taken"), [(timedelta(minutes=5), True), (timedelta(minutes=6), False)])
def test_clocks_may_differ_by_five_minutes_and_no_more(session: Session, signer: Signer, ahead: timedelta, taken: bool):
    report = delivery(content_of(issued_at=RECEIVED + ahead), signer)
    if taken:
        assert verify_report(session, report, frozenset())
    else:
        assert reason_of(session, report) == "from_the_future"


@pytest.mark.parametrize("name", ["issued_at", "observed_from", "forecast_from"])
def test_a_report_that_would_rewrite_what_is_long_past_is_too_old(session: Session, signer: Signer, name: str):
    week_old = delivery(content_of(**{name: RECEIVED - timedelta(days=8)}), signer)
    assert verify_report(session, week_old, frozenset())
    older = delivery(content_of(**{name: RECEIVED - timedelta(days=8, seconds=1)}), signer)
    assert reason_of(session, older) == "too_old"
