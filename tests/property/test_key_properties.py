"""What holds of keys whatever is done in whatever order: bundles open, and nothing else opens."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.rotate_keys import bundles_by_key, rotate_bundle_keys
from security.bundle_keys import BundleKeys, bundle_context, read_wrapped, write_wrapped
from security.encryption import DecryptionRefused, open_with_key, seal_with_key
from security.errors import ContentChanged
from tests.unit.pipeline.small_bundles import publish, read, station_at

KEYS = BundleKeys.fresh()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(secret=st.binary(max_size=200), key=st.binary(min_size=32, max_size=32), context=st.binary(max_size=40))
def test_what_is_sealed_opens_with_the_same_key_and_context(secret: bytes, key: bytes, context: bytes) -> None:
    assert open_with_key(seal_with_key(secret, key, context), key, context) == secret


@given(flip=st.integers(min_value=0), other=st.binary(min_size=32, max_size=32), context=st.binary(max_size=40))
def test_one_flipped_bit_another_key_or_another_context_opens_nothing(flip: int, other: bytes, context: bytes) -> None:
    key, own = bytes(32), b"a context"
    sealed = seal_with_key(b"a secret", key, own)
    altered = bytearray(sealed)
    altered[flip // 8 % len(sealed)] ^= 1 << (flip % 8)
    with pytest.raises(DecryptionRefused):
        open_with_key(bytes(altered), key, own)
    if other != key:
        with pytest.raises(DecryptionRefused):
            open_with_key(sealed, other, own)
    if context != own:
        with pytest.raises(DecryptionRefused):
            open_with_key(sealed, key, context)


@given(content=st.binary(max_size=300))
@settings(max_examples=300)
def test_a_wrapped_key_is_read_as_written_and_any_other_bytes_in_its_place_are_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, patch.object(os, "fsync"):
        path = Path(folder) / "m" / "key.json"
        path.parent.mkdir()
        write_wrapped(path, content)
        assert read_wrapped(path) == content
        path.write_bytes(content)
        with pytest.raises(ContentChanged):
            read_wrapped(path)


@given(mutation=st.binary(min_size=1, max_size=150), position=st.integers(0, 150))
def test_a_mutated_wrapped_key_never_unwraps(mutation: bytes, position: int) -> None:
    context = bundle_context("0123456789abcdef")
    cipher, wrapped = KEYS.new_data_key(context)
    mutant = wrapped[:position] + mutation + wrapped[position + len(mutation) :]
    if mutant == wrapped:
        assert KEYS.unwrap(mutant, context) == cipher
        return
    with pytest.raises(DecryptionRefused):
        KEYS.unwrap(mutant, context)


class KeysOfAStation(RuleBasedStateMachine):
    """Publish, rotate, and be killed at any replacement of a file: every bundle opens at every moment."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.quick = patch.object(os, "fsync")
        self.quick.start()
        self.station = station_at(Path(self.folder.name) / "home")
        self.models: dict[str, bytes] = {}
        self.interrupted = False

    def teardown(self) -> None:
        self.station.engine.dispose()
        self.quick.stop()
        self.folder.cleanup()

    @rule()
    def publish(self) -> None:
        content = f"model {len(self.models)}".encode()
        self.models[publish(self.station, content)] = content

    @rule()
    def rotate(self) -> None:
        before = self.station.bundle_keys.primary_id
        done = rotate_bundle_keys(self.station, by="ida", at=NOW)
        assert done.resumed is (done.primary_id == before)
        self.interrupted = False
        assert bundles_by_key(self.station) == {done.primary_id: len(self.models)}

    @precondition(lambda self: not self.interrupted)
    @rule(after=st.integers(0, 3))
    def rotate_and_be_killed(self, after: int) -> None:
        replace, left = Path.replace, [after]

        def dying(path: Path, target: Path) -> Path:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return replace(path, target)

        try:
            with patch.object(Path, "replace", dying):
                rotate_bundle_keys(self.station, by="ida", at=NOW)
        except KeyboardInterrupt:
            self.interrupted = True

    @invariant()
    def every_bundle_opens(self) -> None:
        assert {model_id: read(self.station, model_id) for model_id in self.models} == self.models

    @invariant()
    def there_are_never_more_than_two_keys(self) -> None:
        assert len(self.station.bundle_keys.key_ids) <= 2


KeysOfAStation.TestCase.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
TestKeysOfAStation = KeysOfAStation.TestCase
