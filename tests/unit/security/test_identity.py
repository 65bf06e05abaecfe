from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jwt
import pytest

from security.errors import TokenRefused
from security.identity import Role, issue_token, verify_token
from security.signing import Signer, new_signer

NOON = datetime(2014, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def signer() -> Signer:
    return new_signer()


def test_a_token_proves_who_it_was_issued_to(signer: Signer):
    token = issue_token(signer, "olga", Role.OPERATOR, HOUR, NOON)
    identity = verify_token(token, {signer.key_id: signer.public_key}, NOON)
    assert (identity.subject, identity.role, identity.expires_at) == ("olga", Role.OPERATOR, NOON + HOUR)
    assert len(identity.token_id) == 32


def test_no_two_tokens_share_an_id(signer: Signer):
    trusted = {signer.key_id: signer.public_key}
    ids = {verify_token(issue_token(signer, "a", Role.ANALYST, HOUR, NOON), trusted, NOON).token_id for _ in range(5)}
    assert len(ids) == 5


def test_without_a_moment_the_clock_decides(signer: Signer):
    trusted = {signer.key_id: signer.public_key}
    assert verify_token(issue_token(signer, "a", Role.ANALYST, HOUR, datetime.now(UTC)), trusted).subject == "a"
    with pytest.raises(TokenRefused):
        verify_token(issue_token(signer, "a", Role.ANALYST, HOUR, NOON), trusted)


def test_a_token_lives_from_its_issue_to_its_expiry(signer: Signer):
    trusted = {signer.key_id: signer.public_key}
    token = issue_token(signer, "a", Role.ANALYST, HOUR, NOON)
    verify_token(token, trusted, NOON + HOUR - timedelta(seconds=1))
    verify_token(token, trusted, NOON - timedelta(seconds=30))
    for moment, reason in ((NOON + HOUR, "expired"), (NOON - timedelta(seconds=31), "issued in the future")):
        with pytest.raises(TokenRefused) as refusal:
            verify_token(token, trusted, moment)
        assert refusal.value.reason == reason


@pytest.mark.parametrize("lifetime", [timedelta(0), -HOUR, timedelta(hours=12, seconds=1)])
def test_lifetimes_end_within_twelve_hours(signer: Signer, lifetime: timedelta):
    with pytest.raises(ValueError, match="lifetime"):
        issue_token(signer, "a", Role.ANALYST, lifetime, NOON)


def test_a_token_needs_a_subject_and_a_zone(signer: Signer):
    for subject, now in (("", NOON), ("a", NOON.replace(tzinfo=None))):
        with pytest.raises(ValueError, match="subject"):
            issue_token(signer, subject, Role.ANALYST, HOUR, now)


@pytest.mark.parametrize("claim", ["exp", "iat", "sub", "aud", "jti", "role"])
def test_a_signed_token_without_a_required_claim_is_refused(signer: Signer, claim: str):
    now = int(NOON.timestamp())
    claims = {"sub": "a", "role": "analyst", "aud": "gridward", "iat": now, "exp": now + 60, "jti": "1"}
    del claims[claim]
    token = jwt.encode(claims, signer.private_key, algorithm="EdDSA", headers={"kid": signer.key_id})
    with pytest.raises(TokenRefused) as refusal:
        verify_token(token, {signer.key_id: signer.public_key}, NOON)
    assert refusal.value.reason == "MissingRequiredClaimError"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"role": "administrator"}, "unknown role"),
        ({"role": ["operator"]}, "unknown role"),
        ({"aud": "another service"}, "InvalidAudienceError"),
        ({"aud": ["gridward", "another service"]}, "InvalidAudienceError"),
        ({"exp": int(NOON.timestamp()) + 13 * 3600}, "lifetime too long"),
        ({"exp": 10**30}, "lifetime too long"),
        ({"exp": 1e30}, "times are not whole seconds"),
        ({"iat": True}, "times are not whole seconds"),
        ({"sub": ""}, "no subject"),
        ({"sub": 7}, "InvalidSubjectError"),
        ({"jti": 7}, "InvalidJTIError"),
    ],
)
def test_a_signed_token_with_a_claim_out_of_bounds_is_refused(signer: Signer, change: dict[str, object], reason: str):
    now = int(NOON.timestamp())
    claims = {"sub": "a", "role": "analyst", "aud": "gridward", "iat": now, "exp": now + 60, "jti": "1", **change}
    token = jwt.encode(claims, signer.private_key, algorithm="EdDSA", headers={"kid": signer.key_id})
    with pytest.raises(TokenRefused) as refusal:
        verify_token(token, {signer.key_id: signer.public_key}, NOON)
    assert refusal.value.reason == reason


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "e30.e30.", "é.é.é", "\ud800", "a" * 5000, "." * 4000])
def test_text_that_is_no_token_is_refused(signer: Signer, token: str):
    with pytest.raises(TokenRefused):
        verify_token(token, {signer.key_id: signer.public_key}, NOON)


def test_the_caller_learns_nothing_from_a_refusal(signer: Signer):
    trusted = {signer.key_id: signer.public_key}
    expired = issue_token(signer, "olga", Role.OPERATOR, HOUR, NOON)
    forged = issue_token(new_signer(), "olga", Role.OPERATOR, HOUR, NOON)
    messages, reasons = set(), set()
    for token, moment in ((expired, NOON + 2 * HOUR), (forged, NOON), ("a.b.c", NOON)):
        with pytest.raises(TokenRefused) as refusal:
            verify_token(token, trusted, moment)
        messages.add(str(refusal.value))
        reasons.add(refusal.value.reason)
        assert refusal.value.__cause__ is None
    assert messages == {"the token was refused — ask an operator for a new one"}
    assert reasons == {"expired", "unknown key", "DecodeError"}
