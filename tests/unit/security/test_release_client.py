"""What a client believes, how it says no, and what its own folder is worth."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from security import release_files
from security.errors import UnavailableError
from security.release_client import trusted_releases
from security.release_repository import renew
from security.release_rotation import propose_root, publish_root
from security.releases import NO_MINIMUM, Release, ReleaseRefused, Versions
from tests.unit.security.small_registry import DAY, GOOD, HOUR, NOW, OLD, SmallRegistry


@pytest.fixture
def registry(tmp_path: Path) -> SmallRegistry:
    small = SmallRegistry.at(tmp_path)
    small.promote(GOOD)
    return small


def refused(registry: SmallRegistry, minimum: Versions = NO_MINIMUM) -> str:
    with pytest.raises(ReleaseRefused) as refusal:
        registry.refresh(minimum)
    assert refusal.value.mend
    assert "\n" not in str(refusal.value)
    return refusal.value.why


def test_a_client_knows_the_release_the_versions_and_when_they_run_out(registry: SmallRegistry) -> None:
    releases = registry.refresh()
    assert releases.by_role == {"main": Release("main", GOOD, 2)}
    assert releases.versions == Versions(1, 2, 2, 2)
    assert releases.expires == {
        "root": NOW + 365 * DAY,
        "targets": NOW + 365 * DAY,
        "snapshot": NOW + 14 * DAY,
        "timestamp": NOW + 2 * DAY,
    }


def test_asking_again_gives_the_same_and_new_releases_are_seen(registry: SmallRegistry) -> None:
    first = registry.refresh()
    assert registry.refresh(first.versions) == first
    registry.promote(OLD)
    assert registry.main(first.versions) == OLD


@pytest.mark.parametrize("wrong", [-HOUR, timedelta(0), HOUR])
def test_a_clock_an_hour_wrong_refuses_nothing_that_was_renewed_in_time(registry: SmallRegistry, wrong: timedelta) -> None:
    for day in range(1, 30):
        renew(registry.folder, registry.online, NOW + day * DAY + wrong)
        for late in (timedelta(0), HOUR, 23 * HOUR):
            assert registry.main(now=NOW + day * DAY + late - wrong) == GOOD


@pytest.mark.parametrize(
    ("after", "lost"),
    [(2 * DAY, "timestamp"), (14 * DAY, "snapshot"), (365 * DAY, "root")],
    ids=["timestamp", "snapshot", "root and targets"],
)
def test_each_kind_of_metadata_runs_out(
    registry: SmallRegistry, monkeypatch: pytest.MonkeyPatch, after: timedelta, lost: str
) -> None:
    if lost != "timestamp":
        monkeypatch.setattr(release_files, "TIMESTAMP_LIFETIME", 999 * DAY)
        if lost != "snapshot":
            monkeypatch.setattr(release_files, "SNAPSHOT_LIFETIME", 999 * DAY)
        renew(registry.folder, registry.online, NOW + 13 * DAY)
        registry.promote(GOOD)
    assert registry.main(now=NOW + after - timedelta(seconds=1)) == GOOD
    with pytest.raises(ReleaseRefused, match=lost) as refusal:
        registry.refresh(now=NOW + after)
    assert refusal.value.why == "expired"


def test_releases_of_format_version_one_are_read_for_ever(tmp_path: Path) -> None:
    """With a rotated operator and a rotated online key; only what a client needs was kept."""
    kept = Path(__file__).parents[2] / "fixtures" / "releases_v1"
    bootstrap = (kept / "metadata" / "1.root.json").read_bytes()
    releases = trusted_releases(kept, tmp_path / "client", bootstrap, Versions(2, 4, 4, 4), NOW)
    assert releases.by_role == {"main": Release("main", GOOD, 4), "fallback": Release("fallback", OLD, 4)}


def test_without_a_moment_the_real_clock_judges(registry: SmallRegistry) -> None:
    with pytest.raises(ReleaseRefused) as refusal:
        trusted_releases(registry.folder, registry.client, registry.bootstrap)
    assert refusal.value.why == "expired"


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json"])
def test_a_missing_file_is_named(registry: SmallRegistry, name: str) -> None:
    (registry.folder / "metadata" / name).unlink()
    with pytest.raises(ReleaseRefused, match=name) as refusal:
        registry.refresh()
    assert refusal.value.why == "missing"


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json"])
@pytest.mark.parametrize("content", [b"", b"null", b"[" * 100_000, b"{}", b'{"signed":{"_type":"root"},"signatures":[]}'])
def test_a_file_that_is_no_metadata_is_refused(registry: SmallRegistry, name: str, content: bytes) -> None:
    (registry.folder / "metadata" / name).write_bytes(content)
    assert refused(registry) in {"altered", "mixed"}


def test_a_symlink_and_a_pipe_are_refused_at_once(registry: SmallRegistry, tmp_path: Path) -> None:
    timestamp = registry.folder / "metadata" / "timestamp.json"
    timestamp.rename(tmp_path / "elsewhere.json")
    timestamp.symlink_to(tmp_path / "elsewhere.json")
    assert refused(registry) == "altered"
    timestamp.unlink()
    os.mkfifo(timestamp)
    assert refused(registry) == "altered"


def test_an_endless_file_is_not_read_to_its_end(registry: SmallRegistry) -> None:
    timestamp = registry.folder / "metadata" / "timestamp.json"
    timestamp.write_bytes(timestamp.read_bytes() + b" " * release_files.LARGEST_FILE_BYTES)
    assert refused(registry) == "altered"


def test_a_pinned_version_above_what_is_there_is_refused(registry: SmallRegistry) -> None:
    for minimum in (Versions(2), Versions(targets=3), Versions(snapshot=3), Versions(timestamp=3)):
        assert refused(registry, minimum) == "rolled back"
    assert registry.main(Versions(1, 2, 2, 2)) == GOOD


def test_another_root_to_start_from_is_refused(registry: SmallRegistry, tmp_path: Path) -> None:
    registry.bootstrap = SmallRegistry.at(tmp_path / "other").bootstrap
    assert refused(registry) == "not approved"
    registry.bootstrap = b"no root at all"
    assert refused(registry) == "altered"


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff" * 100, b"[" * 100_000])
def test_a_damaged_client_folder_is_read_anew_from_the_repository(registry: SmallRegistry, content: bytes | None) -> None:
    versions = registry.refresh().versions
    kept = [path for path in registry.client.rglob("*.json") if not path.is_symlink()]
    assert {path.name for path in kept} >= {"1.root.json", "timestamp.json", "snapshot.json", "targets.json"}
    for path in kept:
        path.unlink() if content is None else path.write_bytes(content)
    assert registry.main(versions) == GOOD
    assert registry.refresh(versions).versions == versions


def test_what_a_killed_client_left_half_written_does_no_harm(registry: SmallRegistry) -> None:
    registry.refresh()
    (registry.client / "root.json").unlink()
    (registry.client / "tmpabcdefg").write_bytes(b"half a timest")
    registry.promote(OLD)
    assert registry.main() == OLD


def test_a_client_folder_that_cannot_be_written_is_one_clear_refusal(registry: SmallRegistry) -> None:
    registry.client.write_bytes(b"a file where the folder should be")
    with pytest.raises(UnavailableError, match="it is made anew"):
        registry.refresh()


def test_a_full_disk_keeps_the_client_from_believing_what_it_cannot_remember(
    registry: SmallRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(UnavailableError, match="No space left on device"):
            registry.refresh()
    assert registry.main() == GOOD


def test_two_processes_may_refresh_at_once(registry: SmallRegistry) -> None:
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda _: registry.main(), range(12)))
    assert seen == [GOOD] * 12


def test_a_client_that_reads_while_releases_and_a_rotation_are_published_is_never_refused(registry: SmallRegistry) -> None:
    def publish_all() -> None:
        for number in range(8):
            registry.promote((GOOD, OLD)[number % 2])
            for name in ("ann", "bob"):
                propose_root(registry.folder, registry.operators[name], NOW)
            publish_root(registry.folder, registry.online, NOW)

    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(publish_all)
        pinned, seen = NO_MINIMUM, 0
        while not publishing.done():
            pinned = registry.refresh(pinned).versions
            seen += 1
        publishing.result()
    assert seen > 8
    assert registry.refresh(pinned).versions == Versions(9, 18, 18, 18)
