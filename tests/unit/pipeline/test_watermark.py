from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.errors import FileRefused
from data.schema import Array, days_between
from pipeline.disguise import MARK_SHARE, disguised
from pipeline.errors import PipelineError
from pipeline.serving import Serving
from pipeline.station import Station, open_station
from pipeline.suspect_model import held_against, read_suspect
from pipeline.watermark import guard_secret, mark_name, mark_of, recognise
from security.key_chest import KeyChest
from security.query_guard import watermark_of
from tests.unit.api.small_station import LAST_DAY, build, settings_for

SECRET = b"k" * 32
DAYS = days_between(LAST_DAY - timedelta(days=69), LAST_DAY)
SLOTS = 48


def own_mw() -> Array:
    return 5000 + 800 * np.sin(np.arange(len(DAYS) * SLOTS) / 9).reshape(len(DAYS), SLOTS)


def marked(mw: Array, subject: str, share: float) -> Array:
    week = mark_of(SECRET, subject, SLOTS)
    return mw * (1 + share * week[[day.weekday() for day in DAYS]])


def test_a_model_that_kept_a_fifth_of_a_mark_is_recognised_through_its_own_errors():
    errors = 1 + 0.001 * np.random.default_rng(1).standard_normal(own_mw().shape)

    found = recognise(marked(own_mw(), "ann", 0.4 * MARK_SHARE) * errors, own_mw(), DAYS, ["bob", "ann", "eve"], SECRET)

    assert (found[0].subject, found[0].recognised) == ("ann", True)
    assert not any(one.recognised for one in found[1:])


@pytest.mark.parametrize("seed", range(5))
def test_of_many_callers_none_is_accused_of_a_model_that_was_learned_from_nobody(seed: int):
    errors = 1 + 0.01 * np.random.default_rng(seed).standard_normal(own_mw().shape)

    found = recognise(own_mw() * errors, own_mw(), DAYS, [f"caller-{number}" for number in range(300)], SECRET)

    assert not any(one.recognised for one in found)
    assert abs(np.mean([one.z for one in found])) < 0.2
    assert 0.8 < np.std([one.z for one in found]) < 1.2


def test_missing_intervals_and_slow_errors_do_not_hide_a_mark():
    slow = 1 + 0.03 * np.sin(np.arange(own_mw().size) / 60).reshape(own_mw().shape)
    suspect = marked(own_mw(), "ann", MARK_SHARE) * slow
    suspect[3, :10] = np.nan

    (ann,) = recognise(suspect, own_mw(), DAYS, ["ann"], SECRET)

    assert ann.recognised
    assert ann.p < 0.001


def test_the_secret_is_made_once_also_when_several_start_at_the_same_time(small: Station):
    chest: KeyChest = small.chest

    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: guard_secret(chest), range(16)))

    assert len(secrets) == 1
    assert len(secrets.pop()) == 32


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    station = open_station(settings_for(build(tmp_path_factory.mktemp("suspect") / "station")))
    yield station
    station.engine.dispose()


def test_answers_of_the_station_itself_point_to_who_got_them(small: Station, tmp_path: Path):
    serving = Serving(small)
    secret, rows = guard_secret(small.chest), []
    for day in DAYS:
        says = serving.prepare(day).says
        answer = disguised(says, 0, bytes(32), watermark_of(secret, "ann", mark_name(day)))[:, 4]
        rows.append(pd.Series(answer, index=serving.readings.utility.day_index(day)))
    file = tmp_path / "suspect.csv"
    pd.concat(rows).rename_axis("timestamp").rename("forecast_mw").to_csv(file)

    found = held_against(serving, read_suspect(file), ["ann", "bob"], by="test")

    assert found.days == len(DAYS)
    assert [(one.subject, one.recognised) for one in found.overlaps] == [("ann", True), ("bob", False)]


def test_too_few_days_and_files_that_are_no_forecasts_are_refused_in_one_line(small: Station, tmp_path: Path):
    file = tmp_path / "suspect.csv"
    for content in (
        "",
        "a,b\n1,2\n",
        "timestamp,forecast_mw\nyesterday,5\n",
        "timestamp,forecast_mw\n2014-01-01T00:00Z,-5\n",
    ):
        file.write_text(content)
        with pytest.raises(FileRefused):
            read_suspect(file)
    file.write_text("timestamp,forecast_mw\n2023-03-01T00:00Z,1000\n")

    with pytest.raises(PipelineError, match="too few to tell"):
        held_against(Serving(small), read_suspect(file), ["ann"], by="test")
