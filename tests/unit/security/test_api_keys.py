from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security import api_keys
from security.api_keys import (
    MayNotGrant,
    UnknownApiKey,
    id_in,
    make_api_key,
    note_used,
    pepper_of,
    require_may_grant,
    revoke_api_key,
    verify_api_key,
)
from security.errors import TokenRefused
from security.identity import Identity, Role
from security.key_chest import KeyChest, open_chest
from security.master_key import Protection
from tests.unit.security.small_access import DAY, HOUR, NOON, PEPPER, SmallAccess


@pytest.fixture
def access() -> SmallAccess:
    return SmallAccess()


@pytest.fixture
def chest(tmp_path: Path) -> KeyChest:
    return open_chest(tmp_path / "keys", Protection())


def caller(role: Role, subject: str = "adele", key_id: str = "") -> Identity:
    return Identity(subject, role, "t", NOON + HOUR, key_id=key_id)


def reason_of(access: SmallAccess, text: str, pepper: bytes = PEPPER, now=NOON) -> str:
    with pytest.raises(TokenRefused) as refusal:
        verify_api_key(text, access.credentials().keys, pepper, now)
    assert str(refusal.value) == "the token was refused — ask an operator for a new one"
    return str(refusal.value.reason)


def test_a_key_proves_its_owner_until_it_ends(access: SmallAccess) -> None:
    made = access.key("control-room", Role.OPERATOR)

    identity = verify_api_key(made.text, access.credentials().keys, PEPPER, NOON)

    assert (identity.subject, identity.role, identity.method) == ("control-room", Role.OPERATOR, "api-key")
    assert (identity.key_id, identity.issued_at, identity.expires_at) == (made.record.key_id, NOON, NOON + DAY)
    assert reason_of(access, made.text, now=NOON + DAY) == "expired API key"


def test_neither_the_table_nor_a_printed_key_holds_the_secret(access: SmallAccess) -> None:
    made = access.key()

    secret = made.text.rpartition("_")[2]

    assert len(secret) == 64
    assert secret not in repr(made)
    assert secret not in repr(access.credentials().keys)
    assert secret not in made.record.model_dump_json()


def test_a_revoked_key_opens_nothing_and_stays_revoked_as_it_was(access: SmallAccess) -> None:
    made = access.key()
    with access.session() as session:
        revoke_api_key(session, made.record.key_id, by="adele", reason="lost", at=NOON)
        again = revoke_api_key(session, made.record.key_id, by="bert", reason="later", at=NOON + HOUR)

    assert reason_of(access, made.text) == "revoked API key"
    assert (again.revoked_by, again.reason, again.revoked_at) == ("adele", "lost", NOON)


def test_an_unknown_key_cannot_be_revoked(access: SmallAccess) -> None:
    with access.session() as session, pytest.raises(UnknownApiKey, match="no API key of this id"):
        revoke_api_key(session, "0" * 16, by="adele", reason="lost", at=NOON)


def test_another_pepper_opens_nothing(access: SmallAccess) -> None:
    assert reason_of(access, access.key().text, pepper=b"q" * 32) == "wrong API key"


@pytest.mark.parametrize("kind", ["right", "wrong secret", "unknown id", "revoked", "expired"])
def test_every_key_costs_one_digest_and_one_comparison(
    access: SmallAccess, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    made = access.key()
    text, now = made.text, NOON
    if kind == "wrong secret":
        text = f"gw_{made.record.key_id}_{'0' * 64}"
    elif kind == "unknown id":
        text = f"gw_{'0' * 16}_{'0' * 64}"
    elif kind == "revoked":
        with access.session() as session:
            revoke_api_key(session, made.record.key_id, by="adele", reason="lost", at=NOON)
    elif kind == "expired":
        now = NOON + 2 * DAY
    keys, calls = access.credentials().keys, list[str]()
    digest, equal = api_keys.keyed_digest, api_keys.equal_in_constant_time
    monkeypatch.setattr(api_keys, "keyed_digest", lambda *a: calls.append("digest") or digest(*a))
    monkeypatch.setattr(api_keys, "equal_in_constant_time", lambda *a: calls.append("compare") or equal(*a))

    try:
        verify_api_key(text, keys, PEPPER, now)
    except TokenRefused:
        assert kind != "right"

    assert calls == ["digest", "compare"]


@given(text=st.text(max_size=120) | st.from_regex(r"gw_[0-9a-f]{15,17}_[0-9a-f]{63,65}", fullmatch=True))
def test_no_text_but_the_key_itself_opens(text: str) -> None:
    with pytest.raises(TokenRefused):
        verify_api_key(text, {}, PEPPER, NOON)
    assert id_in(text) in ("", text[3:19])


@pytest.mark.parametrize("owner", ["", " ", "a b", "x" * 65, "-dash", "new\nline", "é"])
def test_an_owner_has_a_plain_name(access: SmallAccess, owner: str) -> None:
    with access.session() as session, pytest.raises(ValueError, match="owner"):
        make_api_key(session, PEPPER, owner, Role.ANALYST, DAY, by="adele", at=NOON)


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(minutes=59), timedelta(days=366)])
def test_a_key_lives_an_hour_to_a_year(access: SmallAccess, lifetime: timedelta) -> None:
    with access.session() as session, pytest.raises(ValueError, match="lifetime"):
        make_api_key(session, PEPPER, "bot", Role.ANALYST, lifetime, by="adele", at=NOON)


@pytest.mark.parametrize("role", Role)
def test_an_admin_gives_others_any_role_and_themselves_no_other(role: Role) -> None:
    require_may_grant(caller(Role.ADMIN), "bot", role)

    if role is Role.ADMIN:
        require_may_grant(caller(Role.ADMIN), "adele", role)
    else:
        with pytest.raises(MayNotGrant, match="themselves"):
            require_may_grant(caller(Role.ADMIN), "adele", role)


@pytest.mark.parametrize("maker", [role for role in Role if role is not Role.ADMIN])
@pytest.mark.parametrize("given_role", Role)
def test_nobody_else_gives_more_than_they_have(maker: Role, given_role: Role) -> None:
    if maker is given_role:
        require_may_grant(caller(maker), "bot", given_role)
    else:
        with pytest.raises(MayNotGrant, match="may not give"):
            require_may_grant(caller(maker), "bot", given_role)


def test_who_came_with_an_api_key_gives_nothing() -> None:
    with pytest.raises(MayNotGrant, match="API key"):
        require_may_grant(caller(Role.ADMIN, key_id="0" * 16), "bot", Role.ANALYST)


def test_the_day_of_the_last_use_only_goes_forward(access: SmallAccess) -> None:
    made = access.key()
    for day in (NOON.date(), (NOON - DAY).date()):
        with access.session() as session:
            note_used(session, [made.record.key_id], day)

    assert access.credentials().keys[made.record.key_id].last_used_on == "2026-03-01"


def test_a_chest_has_one_pepper_however_many_ask_for_it_first(chest: KeyChest) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(pepper_of(chest))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 1
    assert len(found[0]) == 32
    assert pepper_of(chest) == found[0]


def test_the_pepper_lies_in_the_chest_sealed(chest: KeyChest) -> None:
    pepper = pepper_of(chest)

    files = [path.read_bytes() for path in chest.folder.iterdir() if path.is_file()]

    assert not any(pepper in content or pepper.hex().encode() in content for content in files)
