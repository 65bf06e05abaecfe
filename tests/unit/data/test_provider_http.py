"""One hardened GET, against a server that is slow, broken or hostile: what comes back, and why it does not."""

from __future__ import annotations

import gzip
import logging
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime

import pytest

from data.errors import ProviderFailed
from data.providers.http import Delivery, get
from data.providers.protocol import LastAnswer
from tests.unit.data.weather_server import (
    HOST,
    NOW,
    WeatherServer,
    bombs,
    drips,
    floods,
    sends,
    serving,
    settings,
    waits,
    zipped,
)

GOOD = sends({"fine": True})


@pytest.fixture
def server() -> Iterator[WeatherServer]:
    with serving() as running:
        running.says(GOOD)
        yield running


def ask(server: WeatherServer, last: LastAnswer | None = None, **changes: object) -> Delivery:
    return get(f"{server.url}/weather", provider="alpha", settings=settings(**changes), now=NOW, last=last)


def refused(server: WeatherServer, **changes: object) -> ProviderFailed:
    with pytest.raises(ProviderFailed) as caught:
        ask(server, **changes)
    assert caught.value.provider == "alpha"
    assert caught.value.mend
    return caught.value


# What comes back


def test_a_good_answer_comes_back_whole_with_the_moment_of_its_last_byte(server: WeatherServer) -> None:
    delivery = ask(server)
    assert delivery.payload == b'{"fine": true}'
    assert NOW <= delivery.received_at < NOW + timedelta(seconds=1)
    assert not delivery.not_modified


def test_a_compressed_answer_comes_back_decompressed(server: WeatherServer) -> None:
    server.says(zipped(b'{"fine": true}'))
    assert ask(server).payload == b'{"fine": true}'
    assert server.headers[0]["accept-encoding"] == "gzip"


def test_the_server_is_told_who_asks(server: WeatherServer) -> None:
    ask(server)
    assert server.headers[0]["user-agent"] == "gridward-tests ops@example.org"


@pytest.mark.parametrize("user_agent", ["", "  ", "two\r\nlines", "grüße"])
def test_a_user_agent_that_says_nothing_or_breaks_a_header_is_refused_as_a_setting(user_agent: str) -> None:
    with pytest.raises(ValueError, match="user_agent"):
        settings(user_agent=user_agent)


def test_with_validators_of_the_same_address_only_news_is_asked_for(server: WeatherServer) -> None:
    server.says(sends(b"", status=304))
    stamp = "Thu, 01 Jan 2026 05:30:00 GMT"
    delivery = ask(server, LastAnswer(f"{server.url}/weather", NOW, etag='"a1"', last_modified=stamp))
    assert delivery.not_modified
    assert delivery.payload == b""
    assert server.headers[0]["if-none-match"] == '"a1"'
    assert server.headers[0]["if-modified-since"] == stamp


def test_validators_of_another_address_are_not_sent(server: WeatherServer) -> None:
    ask(server, LastAnswer(f"{server.url}/elsewhere", NOW, etag='"a1"'))
    assert "if-none-match" not in server.headers[0]


def test_the_answers_validators_are_kept(server: WeatherServer) -> None:
    server.says(sends({}, headers={"ETag": '"a2"', "Last-Modified": "Thu, 01 Jan 2026 06:00:00 GMT"}))
    delivery = ask(server)
    assert (delivery.etag, delivery.last_modified) == ('"a2"', "Thu, 01 Jan 2026 06:00:00 GMT")


def test_unchanged_is_no_answer_to_a_question_without_a_condition(server: WeatherServer) -> None:
    server.says(sends(b"", status=304))
    assert refused(server).reason == "http_status"


# Attempts


@pytest.mark.parametrize("fault", [sends("busy", status=500), sends("busy", status=503), waits(5.0, GOOD)])
def test_a_fault_that_passes_is_outlived(server: WeatherServer, fault: object) -> None:
    server.says(fault, GOOD)  # type: ignore[arg-type]
    assert ask(server, read_seconds=1.0).payload == b'{"fine": true}'
    assert len(server.asked) == 2


def test_attempts_are_numbered_and_the_last_status_is_told(server: WeatherServer) -> None:
    server.says(sends("busy", status=502))
    error = refused(server)
    assert (error.reason, error.problem) == ("http_status", "status 502")
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_question_that_the_server_will_not_take_is_not_asked_again(server: WeatherServer, status: int) -> None:
    server.says(sends("no", status=status))
    assert refused(server).problem == f"status {status}"
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [203, 204, 206])
def test_an_altered_empty_or_partial_answer_is_no_success(server: WeatherServer, status: int) -> None:
    server.says(sends(b"", status=status))
    assert refused(server).reason == "http_status"


def test_retry_after_in_seconds_is_waited_for(server: WeatherServer) -> None:
    server.says(sends("slow down", status=429, headers={"Retry-After": "1"}), GOOD)
    started = time.monotonic()
    ask(server)
    assert time.monotonic() - started >= 1


def test_retry_after_as_a_date_is_reckoned_from_the_moment_of_asking(server: WeatherServer) -> None:
    date = format_datetime(NOW + timedelta(hours=1), usegmt=True)
    server.says(sends("slow down", status=503, headers={"Retry-After": date}))
    assert "left alone for 3600 s" in refused(server).problem


def test_a_server_that_wants_more_time_than_we_may_wait_is_left_alone(server: WeatherServer) -> None:
    server.says(sends("slow down", status=429, headers={"Retry-After": "86400"}), GOOD)
    error = refused(server)
    assert error.reason == "http_status"
    assert "86400 s" in error.problem
    assert len(server.asked) == 1


def test_a_retry_after_that_cannot_be_read_does_not_count(server: WeatherServer) -> None:
    server.says(sends("slow down", status=429, headers={"Retry-After": "soon"}), GOOD)
    assert ask(server).payload


# Refusals


def test_a_server_that_stays_silent_times_out_after_every_attempt(server: WeatherServer) -> None:
    server.says(waits(5.0, GOOD))
    assert refused(server, read_seconds=0.3).reason == "timeout"
    assert len(server.asked) == 3


@pytest.mark.parametrize("in_headers", [False, True])
def test_a_drip_is_cut_off_by_the_deadline_over_everything(server: WeatherServer, in_headers: bool) -> None:
    server.says(drips(in_headers=in_headers))
    started = time.monotonic()
    error = refused(server, total_seconds=0.3)
    assert (error.reason, error.problem) == ("timeout", "not done within 0.3 s in all")
    assert time.monotonic() - started < 2


def test_the_deadline_counts_the_waits_between_attempts_too(server: WeatherServer) -> None:
    server.says(sends("busy", status=500))
    started = time.monotonic()
    assert refused(server, total_seconds=0.2, first_wait_seconds=5.0).reason == "timeout"
    assert time.monotonic() - started < 2


def test_nobody_there_is_unreachable_at_once() -> None:
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        port = unused.getsockname()[1]
        with pytest.raises(ProviderFailed) as caught:
            get(f"http://{HOST}:{port}/", provider="alpha", settings=settings(), now=NOW)
    assert caught.value.reason == "unreachable"


def test_a_connection_closed_without_a_word_is_unreachable(server: WeatherServer) -> None:
    server.says(lambda _: None)
    assert refused(server).reason == "unreachable"


@pytest.mark.parametrize("claimed", [{}, {"length": 10**12}])
def test_more_than_the_limit_is_not_read(server: WeatherServer, claimed: dict[str, int]) -> None:
    server.says(sends(b" " * 5000, **claimed) if claimed else floods())
    assert refused(server, largest_bytes=4096).reason == "too_large"


def test_the_limit_is_on_decompressed_bytes(server: WeatherServer) -> None:
    server.says(bombs({}, megabytes=2))
    assert refused(server, largest_bytes=1024 * 1024).reason == "too_large"
    assert len(ask(server, largest_bytes=3 * 1024 * 1024).payload) > 2 * 1024 * 1024


def test_fewer_bytes_than_announced_are_truncated(server: WeatherServer) -> None:
    server.says(sends(b'{"fine":', length=100))
    assert refused(server).reason == "truncated"


def test_a_compressed_body_that_breaks_off_is_truncated_and_what_came_is_kept(server: WeatherServer) -> None:
    server.says(zipped(b'{"fine": true}', cut=8))
    error = refused(server)
    assert error.reason == "truncated"
    assert error.payload == b'{"fine": true}'


@pytest.mark.parametrize("body", [b"not gzip at all", b""])
def test_a_body_that_only_claims_to_be_compressed_is_refused(server: WeatherServer, body: bytes) -> None:
    server.says(sends(body, headers={"Content-Encoding": "gzip"}))
    assert refused(server).reason == ("malformed" if body else "truncated")


def test_a_compressed_body_that_unpacks_to_nothing_is_still_limited_on_the_wire(server: WeatherServer) -> None:
    empty_block = b"\x00\x00\x00\xff\xff"
    server.says(sends(gzip.compress(b"")[:10] + empty_block * 2000, headers={"Content-Encoding": "gzip"}))
    assert refused(server, largest_bytes=4096).reason == "too_large"


def test_what_follows_a_compressed_body_is_refused(server: WeatherServer) -> None:
    server.says(sends(gzip.compress(b'{"fine": true}') + b"{}", headers={"Content-Encoding": "gzip"}))
    assert refused(server).reason == "malformed"


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip"])
def test_a_compression_that_was_not_asked_for_is_refused(server: WeatherServer, encoding: str) -> None:
    server.says(sends({}, headers={"Content-Encoding": encoding}))
    assert refused(server).reason == "bad_type"


@pytest.mark.parametrize("content_type", ["text/html", "text/plain", "application/problem+json", ""])
def test_what_is_not_json_by_its_type_is_refused_and_kept(server: WeatherServer, content_type: str) -> None:
    server.says(sends("<html>log in</html>", content_type=content_type))
    error = refused(server)
    assert error.reason == "bad_type"
    assert error.payload == b"<html>log in</html>"


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/geo+json", "Application/JSON"])
def test_json_is_told_by_its_type_whatever_its_parameters(server: WeatherServer, content_type: str) -> None:
    server.says(sends({}, content_type=content_type))
    assert ask(server).payload == b"{}"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_refused_naming_the_host_alone(server: WeatherServer, status: int) -> None:
    server.says(sends("", status=status, headers={"Location": "https://evil.example/weather?token=s3cret"}))
    error = refused(server)
    assert (error.reason, error.problem) == ("redirected", "sends us to evil.example")
    assert "s3cret" not in str(error)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("/weather/v2", "another place of its own"),
        ("https://[::1", "an address that cannot be read"),
    ],
)
def test_a_redirect_to_nowhere_in_particular_is_refused_too(server: WeatherServer, location: str, place: str) -> None:
    server.says(sends("", status=302, headers={"Location": location}))
    assert refused(server).problem == f"sends us to {place}"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://elsewhere.example/", "host elsewhere.example is not on the list"),
        ("http://api.example/", "http:// to api.example is not allowed"),
        ("http://localhost/", "http:// to localhost is not allowed"),
        ("ftp://api.example/", "ftp:// to api.example is not allowed"),
        ("https://user:s3cret@api.example/", "the address holds a password"),
    ],
)
def test_only_listed_hosts_are_asked_and_over_https(url: str, problem: str) -> None:
    hosts = frozenset({"api.example", "localhost"})
    # A public host is not asked in plain text, even where somebody lists it as one that may be.
    chosen = settings(allowed_hosts=hosts, plain_hosts=frozenset({"api.example"}))
    with pytest.raises(ProviderFailed) as caught:
        get(url, provider="alpha", settings=chosen, now=NOW)
    assert (caught.value.reason, caught.value.problem) == ("forbidden", problem)
    assert "s3cret" not in str(caught.value)


# Secrets


def test_a_secret_is_sent_but_neither_kept_logged_nor_shown(server: WeatherServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    address = f"{server.url}/weather?place=here"
    secrets = {"apikey": "s3cret"}
    delivery = get(address, provider="alpha", settings=settings(), now=NOW, secrets=secrets)
    server.says(sends("no", status=401))
    with pytest.raises(ProviderFailed) as caught:
        get(address, provider="alpha", settings=settings(), now=NOW, secrets=secrets)

    assert server.asked[0] == "/weather?place=here&apikey=s3cret"
    assert delivery.url == caught.value.url == address
    assert "s3cret" not in caplog.text + str(caught.value) + repr(delivery)


def test_proxies_of_the_environment_are_not_used(server: WeatherServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert ask(server).payload
