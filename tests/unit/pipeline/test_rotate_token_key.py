from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.database import reading
from pipeline.rotate_token_key import rotate_token_key
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from security.key_chest import KeyChest
from security.keyring import trusted_keys
from tests.unit.pipeline.republish import AT, acts


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return open_station(Settings(home=tmp_path / "home"))


def trusted(station: Station) -> set[str]:
    with reading(station.engine) as session:
        return set(trusted_keys(session, "token"))


def test_the_new_key_is_the_stations_and_the_old_one_is_trusted_beside_it(station: Station) -> None:
    old = station.signers["token"].key_id

    done = rotate_token_key(station, leaked=False, by="olga", at=AT)

    assert station.chest.signer("token").key_id == done.key_id != old
    assert trusted(station) == {old, done.key_id}
    assert done.old_until is not None
    assert done.old_until > datetime.now(UTC)
    assert [(entry.actor, entry.subject) for entry in acts(station, "keys.rotated")] == [("olga", "tokens")]


def test_of_a_key_that_leaked_nothing_is_left(station: Station) -> None:
    first = station.signers["token"].key_id
    second = rotate_token_key(station, leaked=False, by="olga", at=AT).key_id

    done = rotate_token_key(station, leaked=True, by="olga", at=AT)

    assert trusted(station) == {done.key_id}
    assert set(done.revoked) == {first, second}


def test_killed_before_the_new_key_took_its_place_the_next_run_goes_on(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_chest: KeyChest, _old: str, _new: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(KeyChest, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            rotate_token_key(station, leaked=False, by="olga", at=AT)
    begun = station.chest.signer("token-next").key_id

    assert rotate_token_key(station, leaked=False, by="olga", at=AT).key_id == begun
    assert station.chest.signer("token").key_id == begun
    assert not station.chest.has("token-next")
