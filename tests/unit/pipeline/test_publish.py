"""A bundle is opened as it was sealed, or not at all."""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from pipeline import publish as publishing
from pipeline.database import transaction
from pipeline.errors import TrialFailed
from pipeline.ingest import Readings
from pipeline.predict import forecast_day
from pipeline.publish import OpenedModel, open_model, read_model
from pipeline.station import Station
from security.encryption import DecryptionRefused
from security.errors import ContentChanged, IntegrityError, SignatureInvalid, UnavailableError
from security.keyring import revoke_keys_of
from security.sealed_bundle import BundleSwapped
from security.signing import Signer, new_signer
from tests.unit.api.small_station import LAST_DAY
from tests.unit.pipeline.republish import sealed_again, sealed_as

FLIPS = 60
MODEL = "model.json.sealed"


@pytest.fixture
def bundle(station: Station, models: dict[str, OpenedModel]) -> Path:
    return station.models / models["main"].model_id


@pytest.mark.parametrize("role", ["main", "fallback"])
def test_a_model_forecasts_the_same_after_it_was_sealed_and_opened(
    station: Station, readings: Readings, models: dict[str, OpenedModel], role: str
) -> None:
    model = models[role]
    again = open_model(station, sealed_again(station, model, "s-1", role))
    assert again.snapshot_id == "s-1"
    assert again.contract.to_json() == model.contract.to_json()
    before, after = (forecast_day(readings, opened, None, {}, LAST_DAY).frame for opened in (model, again))
    pd.testing.assert_frame_equal(before, after, check_exact=True)


def flips_over(folder: Path) -> list[tuple[str, int]]:
    """Positions spread over every byte of every file: the same ones each run, and each file's first and last."""
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    everywhere = [(name, position) for name, size in sizes.items() for position in range(0, size, 97)]
    edges = [(name, position) for name, size in sizes.items() for position in (0, size - 1)]
    return edges + random.Random(1).sample(everywhere, FLIPS - len(edges))  # noqa: S311 (a choice of samples)


def test_no_byte_of_a_bundle_can_change_unseen(station: Station, models: dict[str, OpenedModel], bundle: Path) -> None:
    flips = flips_over(bundle)
    assert len(flips) == FLIPS
    assert {name for name, _ in flips} == {path.name for path in bundle.iterdir()}
    for name, position in flips:
        path = bundle / name
        sealed = path.read_bytes()
        path.write_bytes(sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :])
        with pytest.raises(IntegrityError):
            open_model(station, models["main"].model_id)
        path.write_bytes(sealed)
    assert open_model(station, models["main"].model_id).model_id == models["main"].model_id


def no_parser(*_: object) -> None:
    raise AssertionError("parsed before it was verified")


def test_nothing_is_parsed_before_it_was_verified(
    station: Station, models: dict[str, OpenedModel], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for parser in ("restore", "try_bundle", "read_facts", "golden_case"):
        monkeypatch.setattr(publishing, parser, no_parser)
    with pytest.raises(AssertionError, match="parsed before"):
        open_model(station, models["main"].model_id)
    (bundle / MODEL).write_bytes(b"{}")
    with pytest.raises(ContentChanged, match=r"model\.json"):
        open_model(station, models["main"].model_id)


def test_this_process_parses_no_bundle_that_another_one_has_not_tried(
    station: Station, models: dict[str, OpenedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    untried = sealed_again(station, models["main"], "s-untried")
    publishing._tried.clear()
    tried: list[int] = []

    def dies(files: Mapping[str, bytes]) -> None:
        tried.append(len(files))
        raise TrialFailed("crashed (signal 6)")

    with monkeypatch.context() as patched:
        patched.setattr(publishing, "restore", no_parser)
        patched.setattr(publishing, "try_bundle", dies)
        for _ in range(2):
            with pytest.raises(TrialFailed, match="signal 6"):
                open_model(station, untried)
    assert len(tried) == 2
    # Once it came through, the same bytes are not tried again.
    open_model(station, untried)
    monkeypatch.setattr(publishing, "try_bundle", dies)
    open_model(station, untried)
    assert len(tried) == 2


def remove(folder: Path) -> None:
    (folder / MODEL).unlink()


def add(folder: Path) -> None:
    (folder / "more.txt").write_text("tree")


def link(folder: Path) -> None:
    (folder / MODEL).rename(folder.parent / MODEL)
    (folder / MODEL).symlink_to(folder.parent / MODEL)


def remove_all(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize("change", [remove, add, link, remove_all])
def test_a_bundle_is_opened_with_exactly_its_files(
    station: Station, models: dict[str, OpenedModel], bundle: Path, change: Callable[[Path], None]
) -> None:
    change(bundle)
    with pytest.raises(ContentChanged):
        open_model(station, models["main"].model_id)


def test_another_validly_signed_bundle_in_its_place_is_refused(
    station: Station, models: dict[str, OpenedModel], bundle: Path
) -> None:
    main = models["main"]
    other = sealed_again(station, main, "old")
    assert open_model(station, other).snapshot_id == "old"
    shutil.rmtree(bundle)
    shutil.copytree(station.models / other, bundle)
    # Its key was wrapped for its own name.
    with pytest.raises(DecryptionRefused):
        open_model(station, main.model_id)


def test_a_bundle_sealed_anew_under_another_ones_name_is_told_apart_by_its_digest(
    station: Station, models: dict[str, OpenedModel], bundle: Path
) -> None:
    main = models["main"]
    other = read_model(station, sealed_again(station, main, "old"))
    shutil.rmtree(bundle)
    sealed_as(station, bundle, other, station.signers["model"])
    with pytest.raises(BundleSwapped) as refusal:
        open_model(station, main.model_id)
    assert refusal.value.model_id == main.model_id


def signed_by(station: Station, folder: Path, signer: Signer) -> None:
    """The very same bundle with another signature."""
    content = read_model(station, folder.name)
    shutil.rmtree(folder)
    sealed_as(station, folder, content, signer)


def test_a_bundle_sealed_with_an_unknown_key_is_refused(
    station: Station, models: dict[str, OpenedModel], bundle: Path
) -> None:
    signed_by(station, bundle, new_signer())
    with pytest.raises(SignatureInvalid):
        open_model(station, models["main"].model_id)


def test_a_training_snapshots_key_does_not_vouch_for_a_model(
    station: Station, models: dict[str, OpenedModel], bundle: Path
) -> None:
    signed_by(station, bundle, station.signers["snapshot"])
    with pytest.raises(SignatureInvalid):
        open_model(station, models["main"].model_id)


def test_no_model_opens_after_the_model_key_was_revoked(station: Station, models: dict[str, OpenedModel]) -> None:
    with transaction(station.engine) as session:
        revoke_keys_of(session, "model", "station", "ops", "stolen", datetime(2023, 7, 1, tzinfo=UTC))
    with pytest.raises(SignatureInvalid, match="no trusted key"):
        open_model(station, models["main"].model_id)


def test_the_same_content_is_one_bundle_and_other_facts_another(station: Station, models: dict[str, OpenedModel]) -> None:
    first, again = (sealed_again(station, models["main"], "s-1") for _ in range(2))
    other = sealed_again(station, models["main"], "s-2")
    assert first == again != other
    assert not list(station.models.glob(".draft-*"))


def test_a_publication_that_fails_leaves_nothing_behind(
    station: Station, models: dict[str, OpenedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(station.models.iterdir())

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("security.sealed_bundle.os.fsync", full)
        with pytest.raises(UnavailableError, match="no space left on device — make room"):
            sealed_again(station, models["main"], "s-full")
    assert sorted(station.models.iterdir()) == before
    assert open_model(station, sealed_again(station, models["main"], "s-full")).snapshot_id == "s-full"


def test_a_forecaster_that_does_not_survive_its_trial_is_never_sealed(
    station: Station, models: dict[str, OpenedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(station.models.iterdir())

    def dies(_: Mapping[str, bytes]) -> None:
        raise TrialFailed("out of memory")

    monkeypatch.setattr(publishing, "try_bundle", dies)
    with pytest.raises(TrialFailed):
        sealed_again(station, models["main"], "s-never")
    assert sorted(station.models.iterdir()) == before


def test_nothing_of_a_model_can_be_read_on_the_disk_and_no_file_is_anybody_elses(
    station: Station, models: dict[str, OpenedModel], bundle: Path
) -> None:
    plain = read_model(station, models["main"].model_id)
    on_disk = b"".join(path.read_bytes() for path in bundle.iterdir())
    for content in plain.files.values():
        assert content[:40] not in on_disk
    for known in (b"golden", b"timezone", b"snapshot", b"in-toto", models["main"].snapshot_id.encode()):
        assert known not in on_disk
    assert {path.stat().st_mode & 0o777 for path in bundle.iterdir()} == {0o600}
