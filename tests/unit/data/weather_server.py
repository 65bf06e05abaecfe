"""A weather service on loopback that answers in the services' documented formats, and misbehaves when told to.

A reply is a function of the request's handler. The server gives its replies in order, the last one again and again.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from data.providers.http import HttpSettings

NOW = datetime(2026, 1, 1, 6, 20, tzinfo=UTC)
HOST = "127.0.0.1"
HOUR = timedelta(hours=1)

Document = dict[str, Any]
Reply = Callable[["_Handler"], None]


class WeatherServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Handler)
        self.replies: list[Reply] = []
        self.asked: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}"

    def says(self, *replies: Reply) -> None:
        self.replies = list(replies)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up on a flood is what is tested."""


class _Handler(BaseHTTPRequestHandler):
    server: WeatherServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        replies = self.server.replies
        (replies.pop(0) if len(replies) > 1 else replies[0])(self)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def pause(self, seconds: float) -> None:
        self.server.stopping.wait(seconds)


@contextmanager
def serving() -> Iterator[WeatherServer]:
    server = WeatherServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


def settings(**changes: Any) -> HttpSettings:
    """Fairly impatient, and without waits between attempts."""
    usual: dict[str, Any] = {
        "user_agent": "gridward-tests ops@example.org",
        "allowed_hosts": frozenset({HOST}),
        "plain_hosts": frozenset({HOST}),
        "connect_seconds": 1.0,
        "read_seconds": 1.0,
        "total_seconds": 5.0,
        "first_wait_seconds": 0.0,
    }
    return HttpSettings(**(usual | changes))


# Replies


def sends(
    content: Document | bytes | str,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    length: int | None = None,
) -> Reply:
    """One answer; `length`: the Content-Length it claims."""
    body = content if isinstance(content, bytes) else (content if isinstance(content, str) else json.dumps(content)).encode()

    def reply(handler: _Handler) -> None:
        claimed = {"Content-Type": content_type, "Content-Length": str(len(body) if length is None else length)}
        handler.start(status, claimed | dict(headers or {}))
        handler.wfile.write(body)

    return reply


def waits(seconds: float, then: Reply) -> Reply:
    def reply(handler: _Handler) -> None:
        handler.pause(seconds)
        then(handler)

    return reply


def drips(seconds: float = 0.05, *, in_headers: bool = False) -> Reply:
    """A byte at a time, never done, never silent for long."""

    def reply(handler: _Handler) -> None:
        if in_headers:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Patience: ")
        else:
            handler.start(200, {"Content-Type": "application/json"})
        while not handler.server.stopping.is_set():
            handler.wfile.write(b" ")
            handler.pause(seconds)

    return reply


def floods() -> Reply:
    """Without end, and without a Content-Length to warn."""

    def reply(handler: _Handler) -> None:
        handler.start(200, {"Content-Type": "application/json"})
        while not handler.server.stopping.is_set():
            handler.wfile.write(b" " * 65536)

    return reply


def bombs(document: Document, megabytes: int) -> Reply:
    """`document` behind so many megabytes of blanks: valid JSON, and a thousandth of that on the wire."""
    blanks = b" " * (1024 * 1024)
    return zipped(blanks * megabytes + json.dumps(document).encode())


def zipped(body: bytes, cut: int = 0) -> Reply:
    """Compressed; the last `cut` bytes left out."""
    packed = gzip.compress(body, compresslevel=6)
    return sends(packed[: len(packed) - cut], headers={"Content-Encoding": "gzip"})


# Documents


def open_meteo(now: datetime = NOW, days: int = 2, past_days: int = 0, **changes: Any) -> Document:
    """ "Weather Forecast API", JSON Return Object: hourly values in Unix time, from midnight on."""
    first = now.replace(hour=0, minute=0) - timedelta(days=past_days)
    times = [int((first + n * HOUR).timestamp()) for n in range(24 * (days + past_days))]
    document = {
        "latitude": 52.52,
        "longitude": 13.419998,
        "generationtime_ms": 0.1,
        "utc_offset_seconds": 0,
        "timezone": "GMT",
        "timezone_abbreviation": "GMT",
        "elevation": 38.0,
        "hourly_units": {"time": "unixtime", "temperature_2m": "°C"},
        "hourly": {"time": times, "temperature_2m": [10.0 + n / 10 for n in range(len(times))]},
    }
    return document | changes


def met_norway(now: datetime = NOW, updated_at: datetime | None = None) -> Document:
    """ "General forecast JSON format": hourly, then every six hours."""
    first = now.replace(minute=0)
    moments = [first + n * HOUR for n in range(4)] + [first + n * HOUR for n in (8, 14)]
    issued = updated_at or now - timedelta(minutes=50)
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [10.75, 59.91, 5]},
        "properties": {
            "meta": {
                "updated_at": f"{issued:%Y-%m-%dT%H:%M:%SZ}",
                "units": {"air_pressure_at_sea_level": "hPa", "air_temperature": "celsius"},
            },
            "timeseries": [
                {
                    "time": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
                    "data": {
                        "instant": {"details": {"air_pressure_at_sea_level": 1012.1, "air_temperature": -3.0 + n}},
                        "next_1_hours": {"summary": {"symbol_code": "cloudy"}, "details": {"precipitation_amount": 0.0}},
                    },
                }
                for n, moment in enumerate(moments)
            ],
        },
    }


def nws_grid(
    now: datetime = NOW, unit: str = "wmoUnit:degC", values: list[tuple[str, float | None]] | None = None
) -> Document:
    """ "Gridpoint Frequently Asked Questions": merged equal hours."""
    usual = [
        ("2026-01-01T04:00:00+00:00/PT3H", 8.0),
        ("2026-01-01T07:00:00+00:00/PT1H", 9.5),
        ("2026-01-01T08:00:00+00:00/P1DT2H", 7.0),
    ]
    return {
        "id": "https://api.weather.gov/gridpoints/TOP/31,80",
        "type": "Feature",
        "properties": {
            "updateTime": (now - timedelta(hours=2)).isoformat(),
            "validTimes": "2026-01-01T04:00:00+00:00/P7DT5H",
            "gridId": "TOP",
            "gridX": "31",
            "gridY": "80",
            "temperature": {
                "uom": unit,
                "values": [{"validTime": time, "value": value} for time, value in values or usual],
            },
        },
    }


def nws_observations(*observations: tuple[str, float | None, str], unit: str = "wmoUnit:degC") -> Document:
    """`/stations/{id}/observations`: (time of 2026-01-01, value, quality control)."""
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {
                    "station": "https://api.weather.gov/stations/KTOP",
                    "timestamp": f"2026-01-01T{clock}:00+00:00",
                    "temperature": {"unitCode": unit, "value": value, "qualityControl": quality},
                },
            }
            for clock, value, quality in observations
        ],
    }
