"""Whatever order processes remember their versions in, nothing that was believed once is forgotten."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import Session, SQLModel, create_engine

from pipeline.release_pins import pin_bootstrap, pinned, raise_pin
from security.key_chest import open_chest
from security.master_key import Protection
from security.releases import Versions

counts = st.integers(1, 6)
versions = st.builds(Versions, root=counts, targets=counts, snapshot=counts, timestamp=counts)


def pinned_after(found: list[Versions]) -> list[Versions]:
    """The pin at first and after each of these states was verified."""
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine)
    with tempfile.TemporaryDirectory() as folder, Session(engine) as session:
        chest = open_chest(Path(folder) / "keys", Protection(None, None))
        pin_bootstrap(session, chest, b"{}")
        pins = [Versions(1, 1, 1, 1)]
        for state in found:
            raise_pin(session, chest, state)
            pin = pinned(session)
            assert pin is not None
            pins.append(pin.versions)
    engine.dispose()
    return pins


@settings(deadline=None, max_examples=80)
@given(st.lists(versions, max_size=8))
def test_root_and_targets_never_fall_and_the_rest_never_under_one_root(found: list[Versions]) -> None:
    pins = pinned_after(found)
    for before, after in pairwise(pins):
        assert after.root >= before.root
        assert after.targets >= before.targets
        if after.root == before.root:
            assert after.snapshot >= before.snapshot
            assert after.timestamp >= before.timestamp


@settings(deadline=None, max_examples=80)
@given(st.lists(versions.map(lambda one: Versions(2, one.targets, one.snapshot, one.timestamp)), min_size=1, max_size=8))
def test_under_one_root_the_order_does_not_matter(found: list[Versions]) -> None:
    assert pinned_after(found)[-1] == pinned_after(found[::-1])[-1]


@settings(deadline=None, max_examples=80)
@given(st.lists(versions, max_size=8))
def test_what_was_remembered_is_not_remembered_otherwise_a_second_time(found: list[Versions]) -> None:
    pins = pinned_after([state for state in found for _ in range(2)])
    assert pins[1::2] == pins[2::2]
