"""Whatever operators, the station and time do: a client runs what a threshold of today's operators approved, or nothing."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tuf.api.metadata import Targets  # type: ignore[attr-defined]

from security.release_files import commit, read_state, signed_by, write_release
from security.release_repository import propose, publish, renew
from security.release_rotation import propose_root, publish_root
from security.releases import (
    ROLES,
    ApprovalsMissing,
    NotAnOperator,
    NothingProposed,
    Release,
    ReleaseConflict,
    ReleaseRefused,
    Versions,
    read_release,
    release_content,
)
from security.signing import Signer, new_signer
from tests.unit.security.small_registry import DAY, EVIL, GOOD, HOUR, NOW, OLD, SmallRegistry

MODELS = st.sampled_from([GOOD, OLD, "b" * 64])


@pytest.fixture(autouse=True, scope="module")
def nobody_waits_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@settings(max_examples=60)
@given(st.sampled_from(ROLES), st.integers(min_value=0, max_value=2**256 - 1), st.integers(min_value=1, max_value=2**40))
def test_a_release_comes_back_from_its_content_and_from_no_other_spelling(role: str, number: int, version: int) -> None:
    release = Release(role, f"{number:064x}", version)
    content = release_content(release)
    assert read_release(content, role) == release
    for other in (content + b" ", content.replace(b":", b": "), content.replace(b"}", b',"note":1}')):
        with pytest.raises(ValueError, match="Gridward"):
            read_release(other, role)


class Course(RuleBasedStateMachine):
    """Operators propose, rotate and leave, the station publishes and renews, days pass; a model of it all beside."""

    def __init__(self) -> None:
        super().__init__()
        self.home = TemporaryDirectory()

    @initialize()
    def begin(self) -> None:
        self.registry = SmallRegistry.at(Path(self.home.name))
        self.now: datetime = NOW
        self.people: dict[str, Signer] = dict(self.registry.operators)
        self.left: list[Signer] = []
        self.in_force: dict[str, str] = {}
        self.staged: tuple[dict[str, str | None], set[str]] | None = None
        self.rotating: tuple[str, Signer, set[str]] | None = None
        self.pinned = Versions()

    def teardown(self) -> None:
        self.home.cleanup()

    @rule(who=st.integers(0, 2), role=st.sampled_from(ROLES), model=MODELS, again=st.booleans())
    def propose(self, who: int, role: str, model: str, again: bool) -> None:
        name = sorted(self.people)[who]
        changes: dict[str, str | None] = {role: model}
        known = self.staged
        try:
            said = propose(self.registry.folder, changes, self.people[name], self.now, replace=again)
        except ReleaseConflict:
            assert known is not None
            assert known[0] != changes
            return
        signed = {name} if known is None or again else known[1] | {name}
        assert known is None or again or known[0] == changes
        assert (set(said.signed_by), said.approved) == (signed, len(signed) >= 2)
        self.staged = (changes, signed)

    @rule()
    def publish(self) -> None:
        folder, online = self.registry.folder, self.registry.online
        if self.staged is None:
            with pytest.raises(NothingProposed):
                publish(folder, online, self.now, self.pinned)
        elif len(self.staged[1]) < 2:
            with pytest.raises(ApprovalsMissing):
                publish(folder, online, self.now, self.pinned)
        else:
            publish(folder, online, self.now, self.pinned)
            self.in_force |= {role: model for role, model in self.staged[0].items() if model is not None}
            self.staged = None
            self.rotating = None

    @rule(who=st.integers(0, 2), leaving=st.integers(0, 2))
    def propose_rotation(self, who: int, leaving: int) -> None:
        signer, out = sorted(self.people)[who], sorted(self.people)[leaving]
        if self.rotating is None or self.rotating[0] != out:
            self.rotating = (out, new_signer(), set())
        _, coming, signed = self.rotating
        propose_root(
            self.registry.folder,
            self.people[signer],
            self.now,
            out=[out],
            into={out: coming.public_key},
            replace=not signed,
        )
        signed.add(signer)

    @precondition(lambda self: self.rotating is not None)
    @rule()
    def publish_rotation(self) -> None:
        assert self.rotating is not None
        out, coming, signed = self.rotating
        # Enough before and after: two of the three who stay or go, and two of those who stay or come.
        if len(signed) < 2 or len(signed - {out}) < 2:
            with pytest.raises(ApprovalsMissing):
                publish_root(self.registry.folder, self.registry.online, self.now, minimum=self.pinned)
            return
        publish_root(self.registry.folder, self.registry.online, self.now, minimum=self.pinned)
        self.left.append(self.people[out])
        self.people[out] = coming
        self.rotating = self.staged = None

    @rule(hours=st.integers(1, 60))
    def time_passes_and_the_station_renews(self, hours: int) -> None:
        self.now += hours * HOUR
        renew(self.registry.folder, self.registry.online, self.now, self.pinned)

    @precondition(lambda self: self.left)
    @rule(data=st.data())
    def somebody_who_left_proposes(self, data: st.DataObject) -> None:
        with pytest.raises(NotAnOperator):
            propose(self.registry.folder, {"main": EVIL}, data.draw(st.sampled_from(self.left)), self.now)

    @rule(data=st.data(), client_wiped=st.booleans())
    def somebody_forces_a_model_with_too_few_signatures(self, data: st.DataObject, client_wiped: bool) -> None:
        """On a copy: whoever left, strangers and one operator of today, with the online key in hand."""
        others = [*self.left, new_signer(), self.registry.online]
        pool = data.draw(st.lists(st.sampled_from(range(len(others))), max_size=3, unique=True))
        by = [others[index] for index in pool] + [self.people[sorted(self.people)[data.draw(st.integers(0, 2))]]]
        with TemporaryDirectory() as place:
            victim = self.registry.twin(Path(place))
            state = read_state(victim.folder)
            version = state.versions.targets + 1
            target = write_release(victim.folder, Release("main", EVIL, version))
            forged = signed_by(Targets(version, expires=self.now + DAY, targets={"main.json": target}), by)
            commit(victim.folder, forged, state.versions, [victim.online], self.now)
            if client_wiped:
                victim.wipe_client()
            with pytest.raises(ReleaseRefused) as refusal:
                victim.refresh(self.pinned, self.now)
            assert refusal.value.why == "not approved"

    @invariant()
    def the_client_runs_what_was_approved_and_versions_never_fall(self) -> None:
        seen = self.registry.refresh(self.pinned, self.now)
        assert {role: release.model for role, release in seen.by_role.items()} == self.in_force
        assert all(getattr(seen.versions, name) >= getattr(self.pinned, name) for name in vars(self.pinned))
        self.pinned = seen.versions


Course.TestCase.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestCourse = Course.TestCase


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> SmallRegistry:
    """A repository with GOOD in force, and a client that has seen it."""
    registry = SmallRegistry.at(tmp_path_factory.mktemp("good"))
    registry.promote(GOOD)
    registry.refresh()
    return registry


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans(), st.integers(1, 4))
def test_whatever_byte_of_whatever_file_changes_a_client_runs_the_approved_model_or_says_no(
    good: SmallRegistry, damaged: random.Random, client_wiped: bool, times: int
) -> None:
    with TemporaryDirectory() as place:
        victim = good.twin(Path(place))
        if client_wiped:
            victim.wipe_client()
        files = sorted(path for path in Path(place).rglob("*") if path.is_file() and not path.is_symlink())
        for path in damaged.choices(files, k=times):
            path.write_bytes(mutated(path.read_bytes(), damaged))
        with contextlib.suppress(ReleaseRefused):
            assert victim.refresh().by_role == {"main": Release("main", GOOD, 2)}


def mutated(content: bytes, damaged: random.Random) -> bytes:
    """Flipped, cut, doubled, or with another number in it."""
    kind = damaged.randrange(4)
    at = damaged.randrange(len(content) + 1) if content else 0
    if kind == 0 and at < len(content):
        return content[:at] + bytes([content[at] ^ (1 << damaged.randrange(8))]) + content[at + 1 :]
    if kind == 1:
        return content[:at]
    if kind == 2:
        return content[:at] + content
    return content.replace(b"2", str(damaged.choice([-1, 0, 1, 3, 10**30, 1.5])).encode())
