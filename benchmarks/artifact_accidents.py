"""Accidents around the release of a model, and `kill -9` in it: the last good model has to go on answering the same."""

from __future__ import annotations

import errno
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from unittest.mock import patch

from pydantic import SecretStr

from benchmarks.artifact_station import BY, DAY, Row, copy_of, release
from benchmarks.kills import in_a_process
from pipeline import registry
from pipeline.database import transaction
from pipeline.promotion import DEMO_OPERATORS, chest_name
from pipeline.publish import open_model
from pipeline.releases import believed
from pipeline.rotate_keys import rotate_bundle_keys
from pipeline.rotate_operators import propose_rotation, publish_rotation
from pipeline.serving import Serving
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from security import release_files
from security.errors import GridwardError, UnavailableError
from security.signing import new_signer


class Watched:
    """A server that has to go on answering what it answered."""

    def __init__(self, station: Station) -> None:
        self.serving = Serving(station)
        self.good = self.serving.forecast(DAY, BY).frame

    def unharmed(self) -> bool:
        """Whether it answers as before."""
        return self.serving.forecast(DAY, BY).frame.equals(self.good)

    def refuses(self) -> bool:
        """Whether a reload is refused, and it answers as before."""
        try:
            self.serving.reload(by=BY)
        except GridwardError:
            return self.unharmed()
        return False

    def reloads(self) -> bool:
        """Whether a reload succeeds, and it answers as before."""
        return bool(self.serving.reload(by=BY)) and self.unharmed()


def accidents(template: Path, folder: Path) -> list[Row]:
    """Each on a fresh copy of a small station."""
    rows = []
    for name, play in ACCIDENTS.items():
        home = folder / "accident"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(template, home)
        station = open_station(Settings(home=home, forecaster="linear", lake_url="", database_url=SecretStr("")))
        held = play(station)
        rows.append(Row(name, "the last good model serves", "it did" if held else "it did not", held))
        station.engine.dispose()
    return rows


def keys_rotated(station: Station) -> bool:
    watched = Watched(station)
    rotate_bundle_keys(station, by=BY, at=datetime.now(UTC))
    return watched.reloads()


def root_rotated(station: Station) -> bool:
    watched, now = Watched(station), datetime.now(UTC)
    for name in DEMO_OPERATORS[:2]:
        propose_rotation(station, station.chest.signer(chest_name(name)), new_online=True, at=now)
    publish_rotation(station, by=BY, at=now)
    return watched.reloads()


def operators_key_lost(station: Station) -> bool:
    watched, now, real = Watched(station), datetime.now(UTC), new_signer()
    for name in DEMO_OPERATORS[:2]:
        signer = station.chest.signer(chest_name(name))
        propose_rotation(station, signer, out=[DEMO_OPERATORS[2]], into={"alice": real.public_key}, at=now)
    publish_rotation(station, by=BY, at=now)
    return watched.reloads()


def timestamp_expired(station: Station) -> bool:
    """Nobody renewed for a week, and the online key is not here; then it is."""
    watched = Watched(station)
    with _clock(timedelta(days=7)), patch("pipeline.releases.renew", side_effect=UnavailableError("no online key here")):
        refused = watched.refuses()
    with _clock(timedelta(days=7)):
        return refused and watched.reloads()


def clock_an_hour_wrong(station: Station) -> bool:
    watched = Watched(station)
    found = []
    for off in (timedelta(hours=1), timedelta(hours=-1)):
        with _clock(off):
            found.append(watched.reloads())
    return all(found)


@contextmanager
def _clock(off: timedelta) -> Iterator[None]:
    def shown(station: Station, _now: datetime | None = None) -> object:
        return believed(station, datetime.now(UTC) + off)

    with patch("pipeline.releases.believed", shown):
        yield


def disk_full(station: Station) -> bool:
    """The disk is full at every step of a publish in turn; when there is room again, the same promotion succeeds."""
    watched = Watched(station)
    model_id = copy_of(station, open_model(station, watched.serving.active_model_id), 1)
    write_whole, held = release_files.write_whole, []
    for step in range(1, 12):
        left = [step]

        def write(path: Path, content: bytes, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            write_whole(path, content)

        with patch("security.release_files.write_whole", write), patch("security.release_staging.write_whole", write):
            try:
                release(station, model_id)
            except (OSError, GridwardError):
                held.append(watched.unharmed() and bool(Serving(station).forecast(DAY, BY).model_id))
    release(station, model_id)
    return all(held) and len(held) > 0 and watched.serving.reload(by=BY) == model_id


ACCIDENTS: dict[str, Callable[[Station], bool]] = {
    "rotation of the bundle keys": keys_rotated,
    "rotation of root, with a new online key": root_rotated,
    "an operator's key lost, the other two replace it": operators_key_lost,
    "an expired timestamp, without and with the online key": timestamp_expired,
    "a clock an hour wrong, either way": clock_an_hour_wrong,
    "a disk full at each step of a publish": disk_full,
}


def killed(template: Path, folder: Path, kills: int, seed: int) -> Row:
    """`kill -9` at random moments of a promotion; then a new server opens, and the promotion is finished."""
    chance = random.Random(seed)  # noqa: S311 (moments to be killed at)
    home = folder / "killed"
    shutil.copytree(template, home)
    settings = Settings(home=home, forecaster="linear", lake_url="", database_url=SecretStr(""))
    begun = folder / "begun"

    def promotion(model_id: str) -> None:
        station = open_station(settings)
        begun.touch()
        release(station, model_id)

    def look(model_id: str, before: str) -> int:
        station = open_station(settings)
        serving = Serving(station)
        sound = serving.active_model_id in (model_id, before) and len(serving.forecast(DAY, BY).frame) > 0
        release(station, model_id)
        return 0 if sound and serving.reload(by=BY) == model_id else 1

    hit = harmed = number = 0
    longest = 0.0
    while hit < kills:
        number += 1
        model_id, before = _next_candidate(settings, number)
        begun.unlink(missing_ok=True)
        if longest == 0.0:
            in_a_process(partial(promotion, model_id))
            longest = time.time() - begun.stat().st_mtime
            continue
        _, met = in_a_process(partial(promotion, model_id), begun=begun, kill_after=chance.uniform(0, longest))
        hit += met
        harmed += in_a_process(partial(look, model_id, before))[0] != 0
    return Row(
        f"{hit} `kill -9` in a promotion: no good model served, or the promotion not finished afterwards",
        "0",
        str(harmed),
        not harmed,
    )


def _next_candidate(settings: Settings, number: int) -> tuple[str, str]:
    station = open_station(settings)
    with transaction(station.engine) as session:
        before = registry.active_id(session)
    model_id = copy_of(station, open_model(station, before), 10_000 + number)
    station.engine.dispose()
    return model_id, before
