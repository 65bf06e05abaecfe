from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError
from sqlmodel import Session, SQLModel, create_engine

from security import _primitives as primitives
from security import keyring
from security.errors import KeyringError
from security.keyring import (
    KeyRecord,
    key_state,
    load_or_create_signer,
    register_key,
    require_active,
    revoke_keys_of,
    trusted_keys,
)
from security.signing import Signer, new_signer

JULY = datetime(2013, 7, 1, tzinfo=UTC)
MARCH = datetime(2014, 3, 1, tzinfo=UTC)


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine)
    with Session(engine) as opened:
        yield opened
    engine.dispose()


def register(session: Session, owner: str, purpose: keyring.Purpose = "provider") -> Signer:
    signer = new_signer()
    register_key(session, purpose=purpose, owner=owner, public_key=signer.public_key, by="ops", reason="contract", at=JULY)
    return signer


def test_a_registered_key_is_found_by_its_id_purpose_and_owner(session: Session):
    signer = register(session, "auster")
    assert require_active(session, signer.key_id, "provider", "auster") == signer.public_key
    assert trusted_keys(session, "provider") == {signer.key_id: signer.public_key}
    assert key_state(session, "provider", "auster") == "active"


def test_a_key_may_be_registered_as_hex_or_pem_and_twice(session: Session):
    signer = new_signer()
    for form in (primitives.public_key_hex(signer.public_key), primitives.public_key_pem(signer.public_key)):
        record = register_key(session, purpose="model", owner="us", public_key=form, by="ops", reason="first", at=JULY)
        assert record.key_id == signer.key_id
    assert list(trusted_keys(session, "model")) == [signer.key_id]


@pytest.mark.parametrize(
    ("purpose", "owner", "why"),
    [("model", "auster", "this key is for provider"), ("provider", "borea", "this key belongs to auster")],
)
def test_a_key_serves_its_own_purpose_and_owner_only(session: Session, purpose: keyring.Purpose, owner: str, why: str):
    signer = register(session, "auster")
    with pytest.raises(KeyringError) as refusal:
        require_active(session, signer.key_id, purpose, owner)
    assert (refusal.value.key_id, refusal.value.purpose, refusal.value.owner) == (signer.key_id, purpose, owner)
    assert refusal.value.why == why
    with pytest.raises(KeyringError, match=why):
        register_key(session, purpose=purpose, owner=owner, public_key=signer.public_key, by="ops", reason="again", at=JULY)


def test_an_unknown_key_is_refused(session: Session):
    with pytest.raises(KeyringError, match="unknown key"):
        require_active(session, "0" * 32, "provider", "auster")
    assert key_state(session, "provider", "auster") == "unknown"


def test_revoking_an_owner_withdraws_every_key_of_theirs_and_no_other(session: Session):
    first, second, other = register(session, "auster"), register(session, "auster"), register(session, "borea")
    revoked = revoke_keys_of(session, "provider", "auster", "olga", "altered temperatures", MARCH)
    assert {record.key_id for record in revoked} == {first.key_id, second.key_id}
    assert key_state(session, "provider", "auster") == "revoked"
    assert list(trusted_keys(session, "provider")) == [other.key_id]
    with pytest.raises(KeyringError, match=r"revoked at 2014-03-01.* by olga: altered temperatures"):
        require_active(session, first.key_id, "provider", "auster")


def test_revoking_an_owner_without_active_keys_is_an_error(session: Session):
    with pytest.raises(KeyringError, match="no active key"):
        revoke_keys_of(session, "provider", "auster", "olga", "typo", MARCH)
    register(session, "auster")
    revoke_keys_of(session, "provider", "auster", "olga", "altered", MARCH)
    with pytest.raises(KeyringError, match="no active key"):
        revoke_keys_of(session, "provider", "auster", "olga", "altered", MARCH)


def test_a_revoked_key_never_comes_back_but_its_owner_may_bring_a_new_one(session: Session):
    signer = register(session, "auster")
    revoke_keys_of(session, "provider", "auster", "olga", "altered", MARCH)
    with pytest.raises(KeyringError, match="revoked"):
        register_key(session, purpose="provider", owner="auster", public_key=signer.public_key, by="x", reason="y", at=MARCH)
    fresh = register(session, "auster")
    assert key_state(session, "provider", "auster") == "active"
    assert list(trusted_keys(session, "provider")) == [fresh.key_id]


def test_a_key_swapped_in_the_database_under_the_old_name_is_noticed(session: Session):
    signer = register(session, "auster")
    session.connection().execute(
        text("UPDATE key_record SET public_key_hex = :key"),
        {"key": primitives.public_key_hex(new_signer().public_key)},
    )
    session.expire_all()
    for look in (
        lambda: require_active(session, signer.key_id, "provider", "auster"),
        lambda: trusted_keys(session, "provider"),
    ):
        with pytest.raises(KeyringError, match="altered"):
            look()


def test_moments_come_back_aware_and_in_utc(session: Session):
    melbourne = timezone(timedelta(hours=10))
    signer = new_signer()
    register_key(
        session,
        purpose="audit",
        owner="us",
        public_key=signer.public_key,
        by="ops",
        reason="first",
        at=JULY.astimezone(melbourne),
    )
    session.commit()
    record = session.get(KeyRecord, signer.key_id)
    assert record is not None
    assert record.created_at == JULY
    assert record.created_at.tzinfo is UTC


def test_a_naive_moment_is_refused(session: Session):
    with pytest.raises(StatementError, match="naive datetime"):
        register_key(
            session,
            purpose="audit",
            owner="us",
            public_key=new_signer().public_key,
            by="ops",
            reason="first",
            at=JULY.replace(tzinfo=None),
        )


def test_our_signer_is_made_once_and_loaded_afterwards(tmp_path: Path):
    first = load_or_create_signer(tmp_path / "keys", "model")
    again = load_or_create_signer(tmp_path / "keys", "model")
    assert first.key_id == again.key_id
    assert first.key_id != load_or_create_signer(tmp_path / "keys", "snapshot").key_id


def test_when_another_process_makes_the_signer_first_its_key_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    theirs = load_or_create_signer(tmp_path, "model")
    monkeypatch.setattr(Path, "exists", lambda _self: False)
    assert load_or_create_signer(tmp_path, "model").key_id == theirs.key_id


@pytest.mark.parametrize("name", ["../model", "a/b", "", ".hidden", "a b"])
def test_a_signer_name_that_is_no_plain_file_name_is_refused(tmp_path: Path, name: str):
    with pytest.raises(ValueError, match="signer name"):
        load_or_create_signer(tmp_path, name)
