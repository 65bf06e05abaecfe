"""Tokens under attack (AML.T0012, RFC 8725): each forgery wins where nothing is verified and loses at `verify_token`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from security import _primitives as primitives
from security.errors import PermissionDenied, TokenRefused
from security.identity import Identity, Role, issue_token, verify_token
from security.permissions import Permission, require
from security.signing import new_signer, sign_bytes

NOON = datetime(2014, 3, 1, 12, tzinfo=UTC)
OURS = new_signer()
TRUSTED = {OURS.key_id: OURS.public_key}
ANALYST_TOKEN = issue_token(OURS, "anna", Role.ANALYST, timedelta(hours=1), NOON)


def part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def operator_claims() -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(ANALYST_TOKEN, options={"verify_signature": False})
    return {**claims, "role": "operator"}


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return f"{part(json.dumps(header).encode())}.{part(json.dumps(claims).encode())}"


def alg_none(spelling: str) -> str:
    return unsigned({"alg": spelling, "typ": "JWT", "kid": OURS.key_id}, operator_claims()) + "."


def hmac_with_public_key(key: bytes) -> str:
    message = unsigned({"alg": "HS256", "typ": "JWT", "kid": OURS.key_id}, operator_claims())
    return f"{message}.{part(hmac.new(key, message.encode(), hashlib.sha256).digest())}"


def altered_payload() -> str:
    header, _, signature = ANALYST_TOKEN.split(".")
    return f"{header}.{part(json.dumps(operator_claims()).encode())}.{signature}"


def signed_by_mallory(**header: str) -> str:
    return jwt.encode(operator_claims(), new_signer().private_key, algorithm="EdDSA", headers=header)


def key_brought_along() -> str:
    mallory = new_signer()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": part(bytes.fromhex(primitives.public_key_hex(mallory.public_key)))}
    return jwt.encode(operator_claims(), mallory.private_key, algorithm="EdDSA", headers={"kid": OURS.key_id, "jwk": jwk})


FORGERIES = {
    "alg none": alg_none("none"),
    "alg None": alg_none("None"),
    "HS256 keyed with our public PEM": hmac_with_public_key(primitives.public_key_pem(OURS.public_key).encode()),
    "HS256 keyed with our public bytes": hmac_with_public_key(bytes.fromhex(primitives.public_key_hex(OURS.public_key))),
    "payload altered": altered_payload(),
    "own key under our key id": signed_by_mallory(kid=OURS.key_id),
    "own key under its own id": signed_by_mallory(kid="mallory"),
    "own key, no key id": signed_by_mallory(),
    "own key under a path as its id": signed_by_mallory(kid="../../keys/token.key"),
    "own key under a query as its id": signed_by_mallory(kid="' OR '1'='1"),
    "own key under our key id in capitals": signed_by_mallory(kid=OURS.key_id.upper()),
    "own key brought along in the header": key_brought_along(),
    "signature cut off": ANALYST_TOKEN.rsplit(".", 1)[0] + ".",
    "signature of another algorithm name": unsigned({"alg": "Ed448", "typ": "JWT", "kid": OURS.key_id}, operator_claims())
    + "."
    + ANALYST_TOKEN.rsplit(".", 1)[1],
}


def without_safeguard(token: str) -> Identity:
    """The safeguard off: the claims are decoded and believed."""
    claims = jwt.decode(token, options={"verify_signature": False})
    return Identity(claims["sub"], Role(claims["role"]), claims["jti"], NOON)


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token_wins_unverified_and_is_refused_verified(name: str):
    assert without_safeguard(FORGERIES[name]).subject == "anna"
    with pytest.raises(TokenRefused) as refusal:
        verify_token(FORGERIES[name], TRUSTED, NOON)
    assert refusal.value.reason in {
        "InvalidAlgorithmError",
        "InvalidSignatureError",
        "unknown key",
        "DecodeError",
    }


def test_the_public_key_confusion_would_work_on_a_verifier_that_lets_the_token_choose():
    key = bytes.fromhex(primitives.public_key_hex(OURS.public_key))
    forged = FORGERIES["HS256 keyed with our public bytes"]
    chosen = jwt.get_unverified_header(forged)["alg"]
    claims = jwt.decode(forged, key, algorithms=[chosen], audience="gridward", options={"verify_exp": False})
    assert claims["role"] == "operator"
    with pytest.raises(TokenRefused):
        verify_token(forged, TRUSTED, NOON)


def test_an_old_token_wins_where_time_is_not_asked_and_is_refused_here():
    later = NOON + timedelta(days=30)
    assert without_safeguard(ANALYST_TOKEN).subject == "anna"
    with pytest.raises(TokenRefused) as refusal:
        verify_token(ANALYST_TOKEN, TRUSTED, later)
    assert refusal.value.reason == "expired"


def test_a_token_for_another_service_is_refused_here():
    claims = {**operator_claims(), "aud": "billing"}
    token = jwt.encode(claims, OURS.private_key, algorithm="EdDSA", headers={"kid": OURS.key_id})
    assert without_safeguard(token).role is Role.OPERATOR
    with pytest.raises(TokenRefused):
        verify_token(token, TRUSTED, NOON)


def test_a_token_of_a_withdrawn_key_is_refused():
    assert verify_token(ANALYST_TOKEN, TRUSTED, NOON).subject == "anna"
    with pytest.raises(TokenRefused):
        verify_token(ANALYST_TOKEN, {}, NOON)


def test_a_signed_message_cannot_be_turned_into_a_token():
    message = unsigned({"alg": "EdDSA", "typ": "JWT", "kid": OURS.key_id}, operator_claims())
    with pytest.raises(TokenRefused):
        verify_token(f"{message}.{part(sign_bytes(message.encode(), OURS))}", TRUSTED, NOON)


def test_the_forged_operator_could_retrain_and_the_true_analyst_cannot():
    require(without_safeguard(FORGERIES["alg none"]), Permission.RETRAIN)
    with pytest.raises(PermissionDenied):
        require(verify_token(ANALYST_TOKEN, TRUSTED, NOON), Permission.RETRAIN)
