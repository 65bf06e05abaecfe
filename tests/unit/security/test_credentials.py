from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from security.api_keys import revoke_api_key
from security.errors import TokenRefused
from security.identity import EXCHANGED_LIFETIME, LONGEST_LIFETIME, Role, issue_token, new_token_id
from security.keyring import revoke_keys_of
from security.revoked_tokens import RevokedToken, revoke_token, revoked_ids
from tests.unit.security.small_access import DAY, HOUR, NOON, PEPPER, SmallAccess

MINUTE = timedelta(minutes=1)


@pytest.fixture
def access() -> SmallAccess:
    return SmallAccess()


def refused(access: SmallAccess, text: str, now: datetime) -> str:
    with pytest.raises(TokenRefused) as refusal:
        access.credentials(now).identify(text, PEPPER, now)
    return str(refusal.value.reason)


def test_a_token_and_an_api_key_are_told_apart_by_their_form(access: SmallAccess) -> None:
    token, key = issue_token(access.signer, "ann", Role.ANALYST, HOUR, NOON), access.key("bot").text
    known = access.credentials()

    assert (known.identify(token, PEPPER, NOON).subject, known.identify(token, PEPPER, NOON).method) == ("ann", "token")
    assert (known.identify(key, PEPPER, NOON).subject, known.identify(key, PEPPER, NOON).method) == ("bot", "api-key")


def test_a_withdrawn_token_opens_nothing_and_others_of_its_bearer_do(access: SmallAccess) -> None:
    ids = [new_token_id(), new_token_id()]
    tokens = [issue_token(access.signer, "ann", Role.ANALYST, HOUR, NOON, token_id=token_id) for token_id in ids]
    with access.session() as session:
        revoke_token(session, ids[0], by="ann", reason="lost", at=NOON)

    assert refused(access, tokens[0], NOON) == "revoked"
    assert access.credentials().identify(tokens[1], PEPPER, NOON).token_id == ids[1]


def test_a_withdrawal_is_remembered_for_as_long_as_the_token_could_live(access: SmallAccess) -> None:
    of_person, of_key = new_token_id(), new_token_id(for_key="0" * 16)
    for token_id, lifetime in ((of_person, LONGEST_LIFETIME), (of_key, EXCHANGED_LIFETIME)):
        with access.session() as session:
            assert revoke_token(session, token_id, by="ann", reason="lost", at=NOON).until == NOON + lifetime

    with access.session() as session:
        revoke_token(session, new_token_id(), by="ann", reason="lost", at=NOON + LONGEST_LIFETIME - MINUTE)
        assert of_person in revoked_ids(session)
        assert of_key not in revoked_ids(session)
        revoke_token(session, new_token_id(), by="ann", reason="lost", at=NOON + LONGEST_LIFETIME + MINUTE)
        assert of_person not in revoked_ids(session)


def test_a_token_withdrawn_twice_stays_as_it_was(access: SmallAccess) -> None:
    token_id = new_token_id()
    for by, at in (("ann", NOON), ("bob", NOON + HOUR)):
        with access.session() as session:
            revoke_token(session, token_id, by=by, reason="lost", at=at)

    with access.session() as session:
        record = session.get_one(RevokedToken, token_id)
        assert (record.revoked_by, record.revoked_at) == ("ann", NOON)


@pytest.mark.parametrize("text", ["", "x", "0" * 31, "0" * 33, "G" * 32, f"{'0' * 15}.{'0' * 32}", "../" + "0" * 32])
def test_text_that_is_no_tokens_id_is_not_remembered(access: SmallAccess, text: str) -> None:
    with access.session() as session, pytest.raises(ValueError, match="32 hex digits"):
        revoke_token(session, text, by="ann", reason="lost", at=NOON)


def test_a_token_of_an_api_key_is_withdrawn_and_ends_with_the_key(access: SmallAccess) -> None:
    made = access.key(lifetime=HOUR)
    token_id = new_token_id(for_key=made.record.key_id)
    token = issue_token(access.signer, "bot", Role.ANALYST, 2 * HOUR, NOON, token_id=token_id)

    assert access.credentials().identify(token, PEPPER, NOON).key_id == made.record.key_id
    assert refused(access, token, NOON + HOUR) == "the API key it was issued for is withdrawn"
    with access.session() as session:
        revoke_api_key(session, made.record.key_id, by="adele", reason="lost", at=NOON)
    assert refused(access, token, NOON) == "the API key it was issued for is withdrawn"


def test_a_token_of_a_key_that_never_was_is_refused(access: SmallAccess) -> None:
    token = issue_token(access.signer, "bot", Role.ANALYST, HOUR, NOON, token_id=new_token_id(for_key="f" * 16))

    assert refused(access, token, NOON) == "the API key it was issued for is withdrawn"


def test_a_replaced_signing_key_opens_what_it_signed_before_and_nothing_later(access: SmallAccess) -> None:
    old = access.signer
    before = issue_token(old, "ann", Role.ANALYST, LONGEST_LIFETIME, NOON + HOUR)
    replaced_at = NOON + 2 * HOUR
    new = access.new_signer(replaced_at)
    meanwhile = issue_token(old, "ann", Role.ANALYST, LONGEST_LIFETIME, replaced_at + MINUTE)
    after = issue_token(old, "ann", Role.ANALYST, LONGEST_LIFETIME, replaced_at + 2 * MINUTE)
    of_new = issue_token(new, "ann", Role.ANALYST, LONGEST_LIFETIME, replaced_at + 2 * MINUTE)
    now = replaced_at + 3 * MINUTE

    for token in (before, meanwhile, of_new):
        assert access.credentials(now).identify(token, PEPPER, now).subject == "ann"
    assert refused(access, after, now) == "signed with a key that was replaced before"


def test_a_replaced_signing_key_is_forgotten_when_no_token_of_it_can_live(access: SmallAccess) -> None:
    old = access.signer
    access.new_signer(NOON + HOUR)

    last = NOON + HOUR + LONGEST_LIFETIME + MINUTE

    assert old.key_id in access.credentials(last).trusted
    assert old.key_id not in access.credentials(last + MINUTE).trusted


def test_a_revoked_signing_key_opens_nothing(access: SmallAccess) -> None:
    token = issue_token(access.signer, "ann", Role.ANALYST, HOUR, NOON)
    with access.session() as session:
        revoke_keys_of(session, "token", "station", "test", "leaked", NOON)

    assert refused(access, token, NOON) == "unknown key"


def test_names_that_may_have_been_made_since_are_told(access: SmallAccess) -> None:
    known = access.credentials()
    later_key, later_signer = access.key(), access.new_signer(NOON + DAY)

    assert known.names_known(issue_token(access.signer, "ann", Role.ANALYST, HOUR, NOON))
    assert not known.names_known(issue_token(later_signer, "ann", Role.ANALYST, HOUR, NOON))
    assert not known.names_known(later_key.text)
    assert access.credentials().names_known(later_key.text)
    assert not known.names_known("a.b.c")
