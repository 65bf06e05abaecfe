"""Attacks on who gets in (AML.T0012): each wins with its safeguard off and loses with it on."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from datetime import timedelta

import pytest

from security.api_keys import ApiKey, verify_api_key
from security.brute_force import FREE_OF_ADDRESS, FREE_OF_NETWORK, BruteForce, Origin, TooManyFailures
from security.errors import TokenRefused
from security.identity import Identity, Role, issue_token, new_token_id, verify_token
from security.keyring import register_key
from security.memory_state import MemoryState
from security.revoked_tokens import revoke_token
from security.signing import new_signer
from tests.unit.security import small_clock
from tests.unit.security.small_access import DAY, HOUR, NOON, PEPPER, SmallAccess


@pytest.fixture
def access() -> SmallAccess:
    return SmallAccess()


def opens(access: SmallAccess, text: str) -> bool:
    try:
        access.credentials().identify(text, PEPPER, NOON)
    except TokenRefused:
        return False
    return True


def test_a_stolen_token_works_until_it_is_withdrawn_where_withdrawals_are_asked_for(access: SmallAccess) -> None:
    token_id = new_token_id()
    stolen = issue_token(access.signer, "olga", Role.OPERATOR, HOUR, NOON, token_id=token_id)
    assert opens(access, stolen)
    with access.session() as session:
        revoke_token(session, token_id, by="olga", reason="stolen", at=NOON)

    # The safeguard off: a signature and a lifetime are all that is looked at.
    assert verify_token(stolen, access.credentials().trusted, NOON).role is Role.OPERATOR
    assert not opens(access, stolen)


def test_a_stolen_replaced_signing_key_makes_no_new_tokens(access: SmallAccess) -> None:
    stolen = access.signer
    access.new_signer(NOON - DAY)
    access.new_signer(NOON + HOUR)
    forged = issue_token(stolen, "eve", Role.ADMIN, HOUR, NOON + 3 * HOUR)

    now = NOON + 3 * HOUR
    known = access.credentials(now)

    assert verify_token(forged, known.trusted, now).role is Role.ADMIN
    with pytest.raises(TokenRefused) as refusal:
        known.identify(forged, PEPPER, now)
    assert refusal.value.reason == "signed with a key that was replaced before"


@pytest.mark.parametrize("purpose", ["model", "snapshot", "audit", "registry", "provider"])
def test_a_key_that_is_trusted_for_something_else_signs_no_tokens(access: SmallAccess, purpose: str) -> None:
    signer = new_signer()
    with access.session() as session:
        register_key(
            session,
            purpose=purpose,  # type: ignore[arg-type]
            owner="station",
            public_key=signer.public_key,
            by="test",
            reason="test",
            at=NOON,
        )
    forged = issue_token(signer, "eve", Role.ADMIN, HOUR, NOON)

    assert verify_token(forged, {signer.key_id: signer.public_key}, NOON).role is Role.ADMIN
    assert not opens(access, forged)


def plain_hash_opens(text: str, stored: str) -> bool:
    """The safeguard off: what is stored is a hash that anybody can compute."""
    return hashlib.sha256(text.encode()).hexdigest() == stored


def row_of(owner: str, role: str, secret: str, pepper: bytes) -> ApiKey:
    """A key as somebody would enter it who knows how it is done, under their own pepper."""
    ends = "2026-03-02T12:00:00.000000+00:00"
    message = b"gridward-api-key-v1\0" + "\0".join(("b" * 16, secret, owner, role, ends)).encode()
    return ApiKey(
        key_id="b" * 16,
        digest=hmac.new(pepper, message, "sha256").hexdigest(),
        owner=owner,
        role=role,
        created_at=NOON,
        created_by=owner,
        expires_at=NOON + DAY,
    )


def test_a_planted_row_opens_where_no_pepper_is_needed_and_not_here() -> None:
    """Who may write to the database, and has not the key chest, tries to give themselves a key."""
    secret = "5" * 64
    own = f"gw_{'b' * 16}_{secret}"
    assert plain_hash_opens(own, hashlib.sha256(own.encode()).hexdigest())

    planted = row_of("eve", "admin", secret, PEPPER)
    assert verify_api_key(own, {planted.key_id: planted}, PEPPER, NOON).role is Role.ADMIN
    for guess in (b"", b"\0" * 32, b"gridward"):
        planted = row_of("eve", "admin", secret, guess)
        with pytest.raises(TokenRefused):
            verify_api_key(own, {planted.key_id: planted}, PEPPER, NOON)


@pytest.mark.parametrize(
    "change", [{"role": "admin"}, {"owner": "olga"}, {"expires_at": NOON + 300 * DAY}], ids=["role", "owner", "end"]
)
def test_a_row_that_is_changed_opens_nothing_more(access: SmallAccess, change: dict[str, object]) -> None:
    """Mallory has an analyst's key, and may write to the database: the digest holds what the key is for."""
    own = access.key("mallory", Role.ANALYST)
    changed = own.record.model_copy(update=change)

    assert verify_api_key(own.text, {own.record.key_id: own.record}, PEPPER, NOON).role is Role.ANALYST
    with pytest.raises(TokenRefused):
        verify_api_key(own.text, {changed.key_id: changed}, PEPPER, NOON)


def test_what_a_stolen_database_holds_opens_nothing(access: SmallAccess) -> None:
    made = access.key("control-room", Role.OPERATOR)
    stolen = made.record

    for guess in (stolen.digest, stolen.digest[::-1], hashlib.sha256(stolen.digest.encode()).hexdigest()):
        assert not opens(access, f"gw_{stolen.key_id}_{guess}")
    assert opens(access, made.text)


def test_another_keys_digest_put_in_a_row_moves_no_role(access: SmallAccess) -> None:
    """Mallory has an analyst's key, and may write to the database: the operator's row gets the digest of her own."""
    own, others = access.key("mallory", Role.ANALYST), access.key("olga", Role.OPERATOR)
    secret = own.text.rpartition("_")[2]
    rows = {others.record.key_id: others.record.model_copy(update={"digest": own.record.digest})}

    with pytest.raises(TokenRefused):
        verify_api_key(f"gw_{others.record.key_id}_{secret}", rows, PEPPER, NOON)


def guess_until(secret_space: range, judge) -> str:
    for number in secret_space:
        text = f"gw_{'b' * 16}_{number:064x}"
        try:
            return str(judge(text))
        except TokenRefused:
            continue
        except TooManyFailures:
            return "stopped"
    return "not found"


@pytest.fixture
def weak_key() -> dict[str, ApiKey]:
    """A key with one of 500 secrets, as no key of ours is: guessing has to be stopped before it finds one."""
    row = row_of("olga", "operator", f"{400:064x}", PEPPER)
    return {row.key_id: row}


def test_guessing_finds_a_weak_key_unslowed_and_is_stopped_at_once_here(
    weak_key: dict[str, ApiKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    guard, origin = BruteForce(MemoryState(), small_clock.held(monkeypatch)), Origin.of("192.0.2.1")
    judged: list[str] = []

    def slowed(text: str) -> str:
        async def once() -> str:
            tried = await guard.begin(origin, "b" * 16)
            judged.append(text)
            subject = verify_api_key(text, weak_key, PEPPER, NOON).subject
            await guard.right(tried)
            return subject

        return asyncio.run(once())

    assert guess_until(range(500), lambda text: verify_api_key(text, weak_key, PEPPER, NOON).subject) == "olga"
    assert guess_until(range(500), slowed) == "stopped"
    assert len(judged) == FREE_OF_ADDRESS


def test_a_guesser_with_a_whole_network_makes_no_more_guesses_than_its_share(
    weak_key: dict[str, ApiKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = BruteForce(MemoryState(), small_clock.held(monkeypatch))
    judged = 0

    async def play() -> None:
        nonlocal judged
        for number in range(5000):
            address = Origin.of(f"2001:db8:0:{number:x}::1")
            try:
                await guard.begin(address, "b" * 16)
            except TooManyFailures:
                continue
            judged += 1
            with pytest.raises(TokenRefused):
                verify_api_key(f"gw_{'b' * 16}_{number + 1000:064x}", weak_key, PEPPER, NOON)

    asyncio.run(play())
    # Counted by /64 alone, each of the 5,000 would have been judged.
    assert judged == FREE_OF_NETWORK


def test_hammering_a_key_does_not_lock_its_owner_out(weak_key: dict[str, ApiKey], monkeypatch: pytest.MonkeyPatch) -> None:
    guard = BruteForce(MemoryState(), small_clock.held(monkeypatch))

    async def play() -> None:
        for number in range(2000):
            await guard.begin(Origin.of(f"10.{number // 250}.{number % 250}.7"), "b" * 16)
            with pytest.raises(TokenRefused):
                verify_api_key(f"gw_{'b' * 16}_{'f' * 64}", weak_key, PEPPER, NOON)
        # An account that is locked after so many failures would be the attacker's to lock.
        tried = await guard.begin(Origin.of("203.0.113.5"), "b" * 16)
        assert verify_api_key(f"gw_{'b' * 16}_{400:064x}", weak_key, PEPPER, NOON).subject == "olga"
        await guard.right(tried)

    asyncio.run(play())


def test_a_token_that_came_from_a_stolen_api_key_dies_with_it(access: SmallAccess) -> None:
    """Where an exchanged token stood alone, a thief who was quick would keep fifteen minutes more."""
    made = access.key("bot")
    token = issue_token(
        access.signer, "bot", Role.ANALYST, timedelta(minutes=15), NOON, token_id=new_token_id(for_key=made.record.key_id)
    )
    with access.session() as session:
        row = session.get_one(ApiKey, made.record.key_id)
        row.revoked_at = NOON
        session.add(row)

    assert verify_token(token, access.credentials().trusted, NOON).subject == "bot"
    assert not opens(access, token)


def test_a_refusal_tells_nobody_why(access: SmallAccess) -> None:
    made = access.key("olga", Role.OPERATOR)
    token = issue_token(access.signer, "ann", Role.ANALYST, HOUR, NOON - 2 * HOUR)
    shown = [
        f"gw_{made.record.key_id}_{'0' * 64}",
        f"gw_{'0' * 16}_{'0' * 64}",
        token,
        issue_token(new_signer(), "ann", Role.ADMIN, HOUR, NOON),
        "a.b.c",
        "gw_",
    ]

    told = set()
    for text in shown:
        with pytest.raises(TokenRefused) as refusal:
            access.credentials().identify(text, PEPPER, NOON)
        told.add((str(refusal.value), refusal.value.exit_code, refusal.value.__cause__))

    assert told == {("the token was refused — ask an operator for a new one", 4, None)}


def test_a_caller_is_what_the_key_says_and_not_what_it_calls_itself(access: SmallAccess) -> None:
    made = access.key("mallory", Role.ANALYST)

    identity: Identity = access.credentials().identify(made.text, PEPPER, NOON)

    assert (identity.subject, identity.role) == ("mallory", Role.ANALYST)
