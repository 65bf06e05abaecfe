"""A bundle is opened as it was sealed, or not at all."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from forecasting import model_files
from pipeline import publish as publishing
from pipeline.database import transaction
from pipeline.errors import BundleSwapped
from pipeline.ingest import Readings
from pipeline.predict import forecast_day
from pipeline.publish import KIND, OpenedModel, open_model, publish
from pipeline.station import Station
from security.errors import ContentChanged, IntegrityError, SignatureInvalid
from security.keyring import revoke_keys_of
from security.signing import new_signer, seal_folder
from tests.unit.api.small_station import LAST_DAY

FLIPS = 60


@pytest.fixture
def bundle(station: Station, models: dict[str, OpenedModel]) -> Path:
    return station.models / models["main"].model_id


@pytest.mark.parametrize("role", ["main", "fallback"])
def test_a_model_forecasts_the_same_after_it_was_sealed_and_opened(
    station: Station, readings: Readings, models: dict[str, OpenedModel], role: str
) -> None:
    model = models[role]
    facts = {"snapshot": "s-1", "weather": model.contract.to_json()}
    again = open_model(station, publish(station, model.forecaster, facts))
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


def no_parser(_: object) -> None:
    raise AssertionError("parsed before it was verified")


def test_nothing_is_parsed_before_it_was_verified(
    station: Station, models: dict[str, OpenedModel], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "load", no_parser)
    with pytest.raises(AssertionError, match="parsed before"):
        open_model(station, models["main"].model_id)
    (bundle / "model.json").write_bytes(b"{}")
    with pytest.raises(ContentChanged, match=r"model\.json"):
        open_model(station, models["main"].model_id)


def remove(folder: Path) -> None:
    (folder / "model.json").unlink()


def add(folder: Path) -> None:
    (folder / "more.txt").write_text("tree")


def link(folder: Path) -> None:
    (folder / "model.json").rename(folder.parent / "model.json")
    (folder / "model.json").symlink_to(folder.parent / "model.json")


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
    facts = {"snapshot": "old", "weather": main.contract.to_json()}
    other = publish(station, main.forecaster, facts)
    assert open_model(station, other).snapshot_id == "old"
    shutil.rmtree(bundle)
    shutil.copytree(station.models / other, bundle)
    with pytest.raises(BundleSwapped) as refusal:
        open_model(station, main.model_id)
    assert refusal.value.model_id == main.model_id


def test_a_bundle_sealed_with_an_unknown_key_is_refused(
    station: Station, models: dict[str, OpenedModel], bundle: Path
) -> None:
    seal_folder(bundle, KIND, {"snapshot": "x", "weather": models["main"].contract.to_json()}, new_signer())
    with pytest.raises(SignatureInvalid):
        open_model(station, models["main"].model_id)


def test_a_training_snapshots_key_does_not_vouch_for_a_model(
    station: Station, models: dict[str, OpenedModel], bundle: Path
) -> None:
    facts = {"snapshot": "x", "weather": models["main"].contract.to_json()}
    seal_folder(bundle, KIND, facts, station.signers["snapshot"])
    with pytest.raises(SignatureInvalid):
        open_model(station, models["main"].model_id)


def test_no_model_opens_after_the_model_key_was_revoked(station: Station, models: dict[str, OpenedModel]) -> None:
    with transaction(station.engine) as session:
        revoke_keys_of(session, "model", "station", "ops", "stolen", datetime(2023, 7, 1, tzinfo=UTC))
    with pytest.raises(SignatureInvalid, match="no trusted key"):
        open_model(station, models["main"].model_id)


def test_the_same_content_is_one_bundle_and_other_facts_another(station: Station, models: dict[str, OpenedModel]) -> None:
    model = models["main"]
    facts = {"snapshot": "s-1", "weather": model.contract.to_json()}
    first, again = (publish(station, model.forecaster, facts) for _ in range(2))
    other = publish(station, model.forecaster, facts | {"snapshot": "s-2"})
    assert first == again != other
    assert not list(station.models.glob(".draft-*"))


def test_a_publication_that_fails_leaves_nothing_behind(
    station: Station, models: dict[str, OpenedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(station.models.iterdir())

    def incomplete(forecaster: model_files.Restorable) -> dict[str, bytes]:
        return model_files.dump(forecaster) | {"no/such/folder": b""}

    monkeypatch.setattr(publishing, "dump", incomplete)
    with pytest.raises(FileNotFoundError):
        publish(station, models["main"].forecaster, {"snapshot": "s"})
    assert sorted(station.models.iterdir()) == before
