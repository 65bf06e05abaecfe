"""Data keys wrapped by a keyset that rotates: what opens, what is refused, and that nothing of it can be printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from security.bundle_keys import BundleKeys, bundle_context, key_id_of, read_wrapped, write_wrapped
from security.encryption import Cipher, DecryptionRefused
from security.errors import ContentChanged

HERE, ELSEWHERE = bundle_context("0123456789abcdef"), bundle_context("fedcba9876543210")


def test_what_the_new_cipher_encrypts_the_unwrapped_one_decrypts() -> None:
    keys = BundleKeys.fresh()
    cipher, wrapped = keys.new_data_key(HERE)
    ciphertext = cipher.encrypt(b"a model", b"model.json")

    assert keys.unwrap(wrapped, HERE).decrypt(ciphertext, b"model.json") == b"a model"
    assert BundleKeys.from_secret(keys.to_secret()).unwrap(wrapped, HERE).decrypt(ciphertext, b"model.json") == b"a model"


def test_every_bundle_has_a_data_key_of_its_own() -> None:
    keys = BundleKeys.fresh()
    first, second = (keys.new_data_key(HERE)[0] for _ in range(2))
    with pytest.raises(DecryptionRefused):
        second.decrypt(first.encrypt(b"a model", b"x"), b"x")


def test_a_wrapped_key_opens_for_its_own_model_and_station_only() -> None:
    keys = BundleKeys.fresh()
    _, wrapped = keys.new_data_key(HERE)
    with pytest.raises(DecryptionRefused):
        keys.unwrap(wrapped, ELSEWHERE)
    with pytest.raises(DecryptionRefused):
        BundleKeys.fresh().unwrap(wrapped, HERE)
    with pytest.raises(DecryptionRefused):
        keys.rewrap(wrapped, ELSEWHERE)


def test_after_a_rotation_the_old_keys_still_unwrap_and_the_new_one_wraps() -> None:
    old = BundleKeys.fresh()
    cipher, wrapped = old.new_data_key(HERE)
    both = old.rotated()

    assert both.key_ids == [old.primary_id, both.primary_id]
    assert key_id_of(wrapped) == old.primary_id
    anew = both.rewrap(wrapped, HERE)
    assert key_id_of(anew) == both.primary_id
    for known in (wrapped, anew):
        assert both.unwrap(known, HERE).to_secret() == cipher.to_secret()


def test_a_dropped_key_opens_nothing_any_more() -> None:
    old = BundleKeys.fresh()
    _, wrapped = old.new_data_key(HERE)
    both = old.rotated()
    new = both.only_primary()

    assert new.key_ids == [both.primary_id]
    assert new.unwrap(both.rewrap(wrapped, HERE), HERE)
    with pytest.raises(DecryptionRefused):
        new.unwrap(wrapped, HERE)


def test_printing_keys_shows_nothing_of_them() -> None:
    keys = BundleKeys.fresh()
    shown = f"{keys!r} {keys} {keys.new_data_key(HERE)[0]!r}"
    assert "(" in shown
    assert repr(keys.to_secret())[2:20] not in shown
    assert keys.to_secret().hex()[:16] not in shown


@pytest.mark.parametrize("content", [b"", b"no keyset", b"\x08\x01"])
def test_a_keyset_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(ContentChanged, match="keyset"):
        BundleKeys.from_secret(content)
    with pytest.raises(ContentChanged, match="keyset"):
        BundleKeys.from_secret(Cipher.fresh().to_secret())


@pytest.mark.parametrize("wrapped", [b"", b"\x01\x02", b"\x00" * 60])
def test_bytes_that_no_keyset_wrapped_have_no_key_id(wrapped: bytes) -> None:
    with pytest.raises(DecryptionRefused):
        key_id_of(wrapped)


def test_a_wrapped_key_is_read_as_it_was_written_also_over_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "m1" / "key.json"
    path.parent.mkdir()
    write_wrapped(path, b"one")
    write_wrapped(path, b"another")

    assert read_wrapped(path) == b"another"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["key.json"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["m1"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not the wrapped key"),
        (b"[]", "not the wrapped key"),
        (b'{"format_version":1}', "not the wrapped key"),
        (b'{"format_version":1,"wrapped":3}', "not the wrapped key"),
        (b'{"format_version":1,"wrapped":"?"}', "not the wrapped key"),
        (b'{"format_version":2,"wrapped":"AA=="}', "format 2"),
        (b'{"wrapped":"AA==","format_version":1}', "not written as Gridward"),
        (b'{"format_version":1,"more":1,"wrapped":"AA=="}', "not written as Gridward"),
        (b'{"format_version":1,"wrapped":"AA=="}\n', "not written as Gridward"),
        (b'{"format_version":1,"wrapped":"' + b"A" * 8000 + b'"}', "not the wrapped key"),
        (b"[" * 4000, "not the wrapped key"),
    ],
)
def test_anything_else_in_the_place_of_a_wrapped_key_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "key.json").write_bytes(content)
    with pytest.raises(ContentChanged, match=why):
        read_wrapped(tmp_path / "key.json")


def test_a_link_in_the_place_of_a_wrapped_key_is_refused(tmp_path: Path) -> None:
    write_wrapped(tmp_path / "key.json", b"x")
    (tmp_path / "link.json").symlink_to(tmp_path / "key.json")
    with pytest.raises(ContentChanged, match="symlink"):
        read_wrapped(tmp_path / "link.json")


def test_the_format_of_version_1_is_read_for_ever(tmp_path: Path) -> None:
    """Drawn once, with a keyset that protects nothing; see `tests/fixtures/wrapped_key_v1.json`."""
    kept = json.loads((Path(__file__).parents[2] / "fixtures" / "wrapped_key_v1.json").read_text())
    (tmp_path / "key.json").write_text(kept["key.json"])

    cipher = BundleKeys.from_secret(bytes.fromhex(kept["keyset"])).unwrap(
        read_wrapped(tmp_path / "key.json"), bundle_context(kept["model_id"])
    )
    assert cipher.decrypt(bytes.fromhex(kept["ciphertext"]), b"model.json") == b"a model of version 1"
