"""Hostile weather services: each attack wins where its safeguard is lifted, and loses where it stands.

Floods and drips (AML.T0029), feeds that are replayed, frozen, misdirected or in the wrong unit (AML.T0010.002, ML01), and
what no check of a single feed can see: a plausible lie in the documented format (AML.T0020), which is level 3's.
"""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from data.errors import ProviderFailed
from data.providers.file import WeatherFileProvider
from data.providers.http import HttpSettings, get
from data.providers.intake import poll
from data.providers.met_norway import MetNorway
from data.providers.nws import NwsForecast
from data.providers.open_meteo import OpenMeteo
from data.providers.protocol import LastAnswer, ProviderAnswer, WeatherProvider
from tests.unit.data.weather_server import (
    HOST,
    NOW,
    WeatherServer,
    bombs,
    drips,
    floods,
    met_norway,
    nws_grid,
    open_meteo,
    sends,
    serving,
    settings,
    waits,
)

MEGABYTE = 1024 * 1024


@pytest.fixture
def server() -> Iterator[WeatherServer]:
    with serving() as running:
        yield running


def norway(server: WeatherServer, chosen: HttpSettings | None = None) -> MetNorway:
    return MetNorway(59.91, 10.75, "k1", chosen or settings(), base_url=server.url)


def reason(provider: WeatherProvider, now: datetime = NOW, last: LastAnswer | None = None) -> str:
    with pytest.raises(ProviderFailed) as caught:
        provider.fetch(now, last)
    return caught.value.reason


def believed(key_id: str, name: str) -> None:
    """Every key record is active."""


def peak_bytes(ask: Callable[[], object]) -> int:
    """The most memory that Python held while asking, beyond what it held before."""
    tracemalloc.start()
    try:
        ask()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_goes_off_without_a_limit_and_costs_no_more_than_the_limit_with_one(server: WeatherServer) -> None:
    server.says(bombs(met_norway(), megabytes=32))
    # Off: the forecast behind 32 MiB of blanks is taken, from some 33 kB on the wire: one packet's worth or two.
    generous = norway(server, settings(largest_bytes=64 * MEGABYTE))
    assert peak_bytes(lambda: generous.fetch(NOW)) > 32 * MEGABYTE
    # On: the bomb is refused before its first packet is unpacked whole.
    assert peak_bytes(lambda: reason(norway(server))) < 16 * MEGABYTE
    assert reason(norway(server)) == "too_large"


def test_a_flood_without_end_is_cut_off_by_size_or_by_time(server: WeatherServer) -> None:
    server.says(floods())
    # The size limit lifted, the deadline still holds; and the other way round.
    assert reason(norway(server, settings(largest_bytes=10**12, total_seconds=0.3))) == "timeout"
    assert reason(norway(server, settings(total_seconds=60.0))) == "too_large"


@pytest.mark.parametrize("in_headers", [False, True])
def test_a_drip_outlives_timeouts_between_bytes_but_not_the_deadline_over_all(
    server: WeatherServer, in_headers: bool
) -> None:
    server.says(drips(in_headers=in_headers))
    # Off: no gap is longer than the read timeout, and the drip holds the client until a later deadline.
    for total_seconds in (0.6, 0.25):
        started = time.monotonic()
        assert reason(norway(server, settings(read_seconds=0.2, total_seconds=total_seconds))) == "timeout"
        assert total_seconds <= time.monotonic() - started < total_seconds + 2


def test_retries_do_not_multiply_a_slow_server(server: WeatherServer) -> None:
    server.says(waits(0.2, sends("busy", status=500)))
    started = time.monotonic()
    assert reason(norway(server, settings(read_seconds=0.5, total_seconds=0.3, attempts=1000))) == "timeout"
    assert time.monotonic() - started < 2


def test_a_redirect_would_lead_elsewhere_and_is_not_followed(server: WeatherServer) -> None:
    with serving() as attacker:
        attacker.says(sends(met_norway()))
        server.says(sends("", status=302, headers={"Location": norway(attacker).url}))
        # The attacker's answer would be believed, if it were asked.
        assert norway(attacker).fetch(NOW).frame["temperature_c"].notna().all()
        attacker.asked.clear()
        assert reason(norway(server)) == "redirected"
        assert attacker.asked == []


def test_an_address_inside_the_house_is_reached_only_when_it_is_listed(server: WeatherServer) -> None:
    server.says(sends({"internal": "metadata"}))
    # Off: listed, and allowed without TLS.
    assert get(server.url, provider="alpha", settings=settings(), now=NOW).payload
    # On: what is not listed, or not allowed to be plain, is not asked.
    server.asked.clear()
    for chosen in (settings(allowed_hosts=frozenset({"api.met.no"})), settings(plain_hosts=frozenset())):
        assert reason(norway(server, chosen)) == "forbidden"
    assert server.asked == []


def test_a_replayed_answer_is_taken_by_who_remembers_nothing_and_refused_by_who_does(server: WeatherServer) -> None:
    old, new = met_norway(updated_at=NOW - timedelta(hours=5)), met_norway()
    server.says(sends(new), sends(old))
    accepted = norway(server).fetch(NOW)
    # Off: nothing is remembered.
    assert norway(server).fetch(NOW).updated_at < accepted.updated_at
    # On:
    assert reason(norway(server), last=accepted.last) == "replayed"


def test_weather_frozen_by_endless_304_is_found_out_after_a_day(server: WeatherServer) -> None:
    server.says(sends(met_norway(), headers={"ETag": '"m1"'}), sends(b"", status=304))
    last = norway(server).fetch(NOW).last
    # For a day it looks like a service that has nothing new.
    for hours in (1, 12, 23):
        assert norway(server).fetch(NOW + timedelta(hours=hours), last).not_modified
    assert reason(norway(server), NOW + timedelta(hours=24), last) == "stale"


@pytest.mark.parametrize("hours", [-48, 1])
def test_a_provider_cannot_issue_in_the_past_or_the_future_whatever_we_remember(server: WeatherServer, hours: int) -> None:
    server.says(sends(met_norway(updated_at=NOW + timedelta(hours=hours))))
    assert reason(norway(server)) == ("stale" if hours < 0 else "from_the_future")


def test_fahrenheit_is_refused_where_it_is_named_and_converted_where_it_is_documented(server: WeatherServer) -> None:
    meteo = OpenMeteo(52.52, 13.41, "k1", settings(), base_url=server.url)
    server.says(sends(open_meteo(hourly_units={"time": "unixtime", "temperature_2m": "°F"})))
    assert reason(meteo) == "wrong_unit"
    grid = NwsForecast("TOP", 31, 80, "k1", settings(), base_url=server.url)
    server.says(sends(nws_grid(unit="wmoUnit:degF", values=[("2026-01-01T06:00:00+00:00/PT1H", 95.0)])))
    assert grid.fetch(NOW).frame["temperature_c"].to_list() == pytest.approx([35.0])


def test_a_lie_in_the_documented_format_is_not_seen_here(server: WeatherServer) -> None:
    # 50 °F sent as 50 °C, or six degrees too cold: within physics, of its time, over TLS. Level 3 compares providers.
    lie = open_meteo()
    lie["hourly"]["temperature_2m"] = [50.0] * 48
    server.says(sends(lie))
    assert set(OpenMeteo(52.52, 13.41, "k1", settings(), base_url=server.url).fetch(NOW).frame["temperature_c"]) == {50.0}


def test_a_pipe_in_the_place_of_a_file_cannot_hold_us(tmp_path: Path) -> None:
    pipe = tmp_path / "w.csv"
    os.mkfifo(pipe)
    assert reason(WeatherFileProvider(pipe, "own")) == "unreachable"


def test_a_flooding_a_dripping_and_a_lying_provider_do_not_stop_an_honest_one(server: WeatherServer, tmp_path: Path) -> None:
    with serving() as flooding, serving() as dripping, serving() as lying:
        server.says(sends(met_norway()))
        flooding.says(floods())
        dripping.says(drips())
        lying.says(sends(met_norway(updated_at=NOW + timedelta(days=1))))
        # Time for the flood to become too large, and for the honest one beside it.
        chosen = settings(total_seconds=2.0)
        servers = {"flooding": flooding, "dripping": dripping, "lying": lying, "honest": server}
        providers = [MetNorway(59.91, 10.75, "k", chosen, name, one.url) for name, one in servers.items()]
        # Off: asked one after the other without care, the first failure ends the round.
        with pytest.raises(ProviderFailed):
            [provider.fetch(NOW) for provider in providers]
        # On:
        started = time.monotonic()
        outcomes = poll(providers, {}, NOW, folder=tmp_path, require_key=believed)
        assert time.monotonic() - started < 20
    failed = {name: outcome.reason for name, outcome in outcomes.items() if isinstance(outcome, ProviderFailed)}
    assert failed == {"flooding": "too_large", "dripping": "timeout", "lying": "from_the_future"}
    assert isinstance(outcomes["honest"], ProviderAnswer)
    assert HOST in outcomes["honest"].url
