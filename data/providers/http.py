"""One GET over HTTP, built for servers that are slow, broken or hostile.

Held here, each a refusal of its own (`ProviderFailed.reason`): https only, and to hosts on a list (`forbidden`); no
redirects (`redirected`); one deadline over connecting, headers, body, retries and waits together, so that no drip outlives
it (`timeout`); a limit on received and on decompressed bytes, checked while reading (`too_large`, AML.T0029); all bytes or
none (`truncated`); JSON by its content type (`bad_type`). Neither cookies, proxies nor `.netrc` are read from anywhere.

Retries: timeouts, 429 and 5xx, with exponential backoff and jitter, or as `Retry-After` says; no other 4xx. Conditional
requests and status codes: RFC 9110, sections 13 and 15.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from data.errors import ProviderFailed, ProviderReason
from data.providers.protocol import LastAnswer

JSON_TYPES = ("application/json", "application/geo+json")


@dataclass(frozen=True)
class HttpSettings:
    """How providers are asked. Times in seconds; `total_seconds` bounds everything, retries and waits included.

    user_agent: who asks, with a contact; MET Norway and the NWS refuse without. allowed_hosts: nothing else is asked.
    plain_hosts: loopback hosts among them that may be asked without TLS. largest_bytes: of a decompressed body.
    Raises ValueError for a user agent that is empty or cannot stand in a header.
    """

    user_agent: str
    allowed_hosts: frozenset[str]
    plain_hosts: frozenset[str] = frozenset()
    connect_seconds: float = 5.0
    read_seconds: float = 10.0
    total_seconds: float = 30.0
    attempts: int = 3
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 10.0
    largest_bytes: int = 4 * 1024 * 1024

    def __post_init__(self) -> None:
        if not self.user_agent.strip() or not (self.user_agent.isascii() and self.user_agent.isprintable()):
            raise ValueError("user_agent must name the application and a contact, in printable ASCII")


@dataclass(frozen=True)
class Delivery:
    """What a server sent, whole and in time, but not yet read. payload: empty when `not_modified`. url: without secrets."""

    provider: str
    url: str
    received_at: datetime
    payload: bytes
    etag: str | None
    last_modified: str | None
    not_modified: bool

    def refusal(self, reason: ProviderReason, problem: str, mend: str) -> ProviderFailed:
        """The error that refuses this delivery and carries its bytes."""
        return ProviderFailed(problem, provider=self.provider, reason=reason, mend=mend, url=self.url, payload=self.payload)


@dataclass(frozen=True)
class _Call:
    """One question: the request with its secrets, and the address as it may be shown and kept."""

    provider: str
    url: str
    request: httpx.Request
    settings: HttpSettings
    asked_at: datetime
    started: float

    def refusal(self, reason: ProviderReason, problem: str, mend: str, payload: bytes = b"") -> ProviderFailed:
        return ProviderFailed(problem, provider=self.provider, reason=reason, mend=mend, url=self.url, payload=payload)


class _MayPass(ProviderFailed):
    """A failure worth another attempt, after `wait_seconds` where the server said so."""

    wait_seconds: float | None = None


def get(
    url: str,
    *,
    provider: str,
    settings: HttpSettings,
    now: datetime,
    last: LastAnswer | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Delivery:
    """Ask `url` at `now`, for news only when `last` came from the same address. Raises ProviderFailed.

    secrets: query parameters that are sent, but neither shown, logged nor kept. Not for use inside a running event loop.
    """
    _require_allowed(url, provider, settings)
    headers = {"User-Agent": settings.user_agent, "Accept": ", ".join(JSON_TYPES), "Accept-Encoding": "gzip"}
    if last is not None and last.url == url:
        headers |= {"If-None-Match": last.etag} if last.etag else {}
        headers |= {"If-Modified-Since": last.last_modified} if last.last_modified else {}
    limits = {"connect": settings.connect_seconds, "read": settings.read_seconds, "write": settings.read_seconds}
    request = httpx.Request(
        "GET", httpx.URL(url).copy_merge_params(secrets or {}), headers=headers, extensions={"timeout": limits}
    )
    return asyncio.run(_ask(_Call(provider, url, request, settings, now, time.monotonic())))


def _require_allowed(url: str, provider: str, settings: HttpSettings) -> None:
    address = httpx.URL(url)
    problem = ""
    if address.userinfo:
        problem = "the address holds a password"
    elif address.host not in settings.allowed_hosts:
        problem = f"host {address.host} is not on the list"
    elif address.scheme != "https" and not (address.scheme == "http" and _may_be_plain(address.host, settings)):
        problem = f"{address.scheme}:// to {address.host} is not allowed"
    if problem:
        raise ProviderFailed(
            problem, provider=provider, reason="forbidden", mend="use https and a host on the allow-list of the settings"
        )


def _may_be_plain(host: str, settings: HttpSettings) -> bool:
    if host not in settings.plain_hosts:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _ask(call: _Call) -> Delivery:
    settings = call.settings
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(_MayPass),
        stop=stop_after_attempt(settings.attempts),
        wait=_waits(settings),
        reraise=True,
    )
    try:
        async with asyncio.timeout(settings.total_seconds):
            return await retrying(_attempt, call)
    except TimeoutError:
        problem = f"not done within {settings.total_seconds:g} s in all"
        raise call.refusal("timeout", problem, "ask again later; raise the deadline if it is always so") from None


def _waits(settings: HttpSettings) -> Callable[[RetryCallState], float]:
    first, longest = settings.first_wait_seconds, settings.longest_wait_seconds
    backoff = wait_exponential(multiplier=first, max=longest) + wait_random(0, first)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        told = error.wait_seconds if isinstance(error, _MayPass) else None
        return backoff(state) if told is None else told

    return wait


async def _attempt(call: _Call) -> Delivery:
    # The bare transport: httpx's client writes every address, with its API key, to the log.
    async with httpx.AsyncHTTPTransport(verify=_tls()) as transport:
        try:
            response = await transport.handle_async_request(call.request)
        except httpx.TimeoutException as error:
            raise _passing(call, "timeout", "no connection or no answer in time") from error
        except httpx.TransportError as error:
            raise call.refusal(
                "unreachable", f"no answer: {error}", "check the network, the host and its certificate"
            ) from error
        try:
            return await _receive(call, response)
        except httpx.TimeoutException as error:
            raise _passing(call, "timeout", "the answer stopped coming") from error
        except httpx.TransportError as error:
            raise call.refusal(
                "truncated", "the connection closed before the answer was whole", "ask again later"
            ) from error
        finally:
            await response.aclose()


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


async def _receive(call: _Call, response: httpx.Response) -> Delivery:
    conditional = "If-None-Match" in call.request.headers or "If-Modified-Since" in call.request.headers
    not_modified = response.status_code == httpx.codes.NOT_MODIFIED and conditional
    payload = b""
    if not not_modified:
        _require_success(call, response)
        payload = await _read_body(call, response)
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in JSON_TYPES:
            problem = f"content type {media_type[:60]!r} instead of JSON"
            raise call.refusal("bad_type", problem, "look at the kept payload: a login or error page?", payload)
    return Delivery(
        provider=call.provider,
        url=call.url,
        received_at=call.asked_at + timedelta(seconds=time.monotonic() - call.started),
        payload=payload,
        etag=response.headers.get("etag"),
        last_modified=response.headers.get("last-modified"),
        not_modified=not_modified,
    )


def _require_success(call: _Call, response: httpx.Response) -> None:
    """Only 200 is success: 203 was altered on the way or comes from a version on its way out, 206 is a part."""
    status = response.status_code
    if status == httpx.codes.OK:
        return
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= 500:
        raise _passing(call, "http_status", f"status {status}", _retry_after(call, response))
    if 300 <= status < 400 and "location" in response.headers:
        host = _host_of(response.headers["location"]) or "another place of its own"
        raise call.refusal("redirected", f"sends us to {host}", "check the service's notices, then change the address")
    mend = "the version may be deprecated" if status == 203 else "check the request against the service's documentation"
    raise call.refusal("http_status", f"status {status}", mend)


def _host_of(location: str) -> str:
    """The host alone: the rest of an address may hold secrets, or be written to mislead who reads the log."""
    try:
        return httpx.URL(location).host[:253]
    except httpx.InvalidURL:
        return "an address that cannot be read"


def _passing(call: _Call, reason: ProviderReason, problem: str, wait_seconds: float | None = None) -> ProviderFailed:
    """Worth another attempt, unless the server wants to be left alone for longer than we may wait."""
    longest = call.settings.longest_wait_seconds
    if wait_seconds is not None and wait_seconds > longest:
        return call.refusal(reason, f"{problem}, asks to be left alone for {wait_seconds:.0f} s", "ask again after that")
    error = _MayPass(problem, provider=call.provider, reason=reason, mend="ask again later", url=call.url)
    error.wait_seconds = wait_seconds
    return error


def _retry_after(call: _Call, response: httpx.Response) -> float | None:
    """Seconds to wait by `Retry-After`, as a number or as a date (RFC 9110, 10.2.3); None without a readable one."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - call.asked_at).total_seconds())
    except (ValueError, TypeError):
        return None


async def _read_body(call: _Call, response: httpx.Response) -> bytes:
    """The body, decompressed in bounded steps: a gzip bomb is cut off at the limit, not after it went off."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise call.refusal("bad_type", f"content encoding {encoding[:20]!r}, asked for gzip", "ask the provider")
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if encoding == "gzip" else None
    largest = call.settings.largest_bytes
    body = bytearray()
    received = 0
    async for chunk in response.aiter_raw():
        received += len(chunk)
        try:
            body += decoder.decompress(chunk, largest + 1 - len(body)) if decoder else chunk
        except zlib.error as error:
            raise call.refusal("malformed", "the compression is broken", "ask the provider", bytes(body)) from error
        if max(received, len(body)) > largest:
            raise call.refusal("too_large", f"more than {largest:,} bytes", "raise the limit if the provider means it")
    if decoder and not decoder.eof:
        raise call.refusal("truncated", "the compressed body breaks off", "ask again later", bytes(body))
    if decoder and decoder.unused_data:
        raise call.refusal("malformed", "something follows the compressed body", "ask the provider", bytes(body))
    return bytes(body)
