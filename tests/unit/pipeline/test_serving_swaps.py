"""Models are swapped while requests are answered: none fails, and each is answered by one model from end to end."""

from __future__ import annotations

import threading
from typing import Any

import pandas as pd
import pytest

from pipeline.ingest import Readings
from pipeline.predict import DayForecast, Drawn, draw
from pipeline.publish import OpenedModel
from pipeline.serving import Serving
from pipeline.station import Station
from security.errors import ContentChanged
from tests.unit.api.small_station import LAST_DAY
from tests.unit.pipeline.republish import AT, acts, in_service_again

SWAPS = 10


def test_a_request_that_began_with_the_old_model_ends_with_it(
    linear: Station, linear_model: OpenedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Serving(linear, lambda: AT).forecast(LAST_DAY, "ann").frame
    serving = Serving(linear, lambda: AT)
    halfway, swapped = threading.Event(), threading.Event()

    def slowly(readings: Readings, *rest: Any, **options: Any) -> Drawn:
        halfway.set()
        assert swapped.wait(timeout=60)
        return draw(readings, *rest, **options)

    monkeypatch.setattr("pipeline.serving.draw", slowly)
    answered: list[DayForecast] = []
    request = threading.Thread(target=lambda: answered.append(serving.forecast(LAST_DAY, "ann")))
    request.start()
    assert halfway.wait(timeout=60)
    newest = in_service_again(linear, linear_model, "s-2")
    assert serving.reload(by="olga") == newest == serving.active_model_id
    swapped.set()
    request.join(timeout=60)
    (made,) = answered
    assert made.model_id == linear_model.model_id
    pd.testing.assert_frame_equal(made.frame, expected, check_exact=True)
    assert serving.forecast(LAST_DAY, "ann").model_id == newest


def test_ten_swaps_under_load_fail_no_request(linear: Station, linear_model: OpenedModel) -> None:
    serving = Serving(linear, lambda: AT)
    over = threading.Event()
    failures: list[Exception] = []
    answered: tuple[list[str], ...] = ([], [])

    def ask(mine: list[str]) -> None:
        while not over.is_set():
            try:
                mine.append(serving.prepare(LAST_DAY, by="ann").forecast.model_id)
                over.wait(0.001)
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=ask, args=(mine,)) for mine in answered]
    for thread in threads:
        thread.start()
    swapped = [linear_model.model_id]
    for number in range(SWAPS):
        swapped.append(in_service_again(linear, linear_model, f"s-{number}"))
        assert serving.reload(by="olga") == swapped[-1]
        # Before the next swap, somebody was answered by this one.
        while swapped[-1] not in {mine[-1] for mine in answered if mine} and not failures:
            over.wait(0.001)
    over.set()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert {model_id for mine in answered for model_id in mine} == set(swapped)
    for mine in answered:
        # Who asks one request after the other is never given a model that was replaced before.
        served = [swapped.index(model_id) for model_id in mine]
        assert served == sorted(served)


def test_a_swap_that_is_refused_under_load_fails_no_request_either(linear: Station, linear_model: OpenedModel) -> None:
    serving = Serving(linear, lambda: AT)
    path = linear.models / in_service_again(linear, linear_model, "s-2") / "golden.json.sealed"
    path.write_bytes(path.read_bytes()[:-1])
    for _ in range(3):
        with pytest.raises(ContentChanged, match=r"golden\.json"):
            serving.reload(by="olga")
        assert serving.forecast(LAST_DAY, "ann").model_id == linear_model.model_id
    assert [entry.actor for entry in acts(linear, "model.refused")] == ["olga"] * 3
