"""What a web framework never sees, and its server does: malformed HTTP, ambiguous lengths, smuggled requests.

An ambiguous request carries a second one in its body, for a path that nobody asks for otherwise. A server that takes the
length the other way round would answer that one as well: behind a proxy, with somebody else's connection (RFC 9112,
section 6.3). Refusing by closing is as good as 400.
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

from benchmarks.api_watch import Finding, Watch

SMUGGLED_PATH = "/v1/smuggled"
# So long a connection may say nothing before it is taken for one that waits; and an honest one, that will be answered.
SILENCE_SECONDS, PATIENCE_SECONDS = 0.4, 30.0
HONEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_INNER = f"GET {SMUGGLED_PATH} HTTP/1.1\r\nHost: x\r\n\r\n"
_CHUNK = f"0\r\n\r\n{_INNER}"
_BODY = '{"day": "2023-05-01"}'


def texts(token: str) -> dict[str, bytes]:
    """What is sent, by name. token: an analyst's, so that what is wrong is the form alone."""
    start = f"POST /v1/forecasts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    get = f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    ambiguous = {
        "length and chunked": f"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{_CHUNK}",
        "chunked and length": f"Transfer-Encoding: chunked\r\nContent-Length: {len(_CHUNK)}\r\n\r\n{_CHUNK}",
        "two lengths": f"Content-Length: 0\r\nContent-Length: {len(_INNER)}\r\n\r\n{_INNER}",
        "a list of lengths": f"Content-Length: 0, {len(_INNER)}\r\n\r\n{_INNER}",
        "a signed length": f"Content-Length: +{len(_INNER)}\r\n\r\n{_INNER}",
        "a length in hexadecimal": f"Content-Length: 0x10\r\n\r\n{_INNER}",
        "a blank before the colon": f"Content-Length : {len(_INNER)}\r\n\r\n{_INNER}",
        "another coding": f"Transfer-Encoding: xchunked\r\n\r\n{_CHUNK}",
        "two codings": f"Transfer-Encoding: chunked, identity\r\n\r\n{_CHUNK}",
        "a tab in the coding": f"Transfer-Encoding:\tchunked\x0b\r\nContent-Length: 5\r\n\r\n{_CHUNK}",
        "a folded header": f"Transfer-Encoding:\r\n chunked\r\nContent-Length: 3\r\n\r\n{_CHUNK}",
    }
    malformed = {
        "bare line feeds": get.replace("\r\n", "\n") + "\n",
        "no version": "GET /v1/models\r\n\r\n",
        "version 9.9": get.replace("HTTP/1.1", "HTTP/9.9") + "\r\n",
        "version 1.0": get.replace("HTTP/1.1", "HTTP/1.0") + "\r\n",
        "an absolute target": get.replace("/v1/models", "http://evil.example/v1/models") + "\r\n",
        "an asterisk": get.replace("GET /v1/models", "OPTIONS *") + "\r\n",
        "an authority": get.replace("GET /v1/models", "CONNECT evil.example:443") + "\r\n",
        "no host": get.replace("Host: x\r\n", "") + "\r\n",
        "two hosts": get + "Host: y\r\n\r\n",
        "a null in a header": get + "X-A: a\0b\r\n\r\n",
        "a carriage return in a header": get + "X-A: a\rSet-Cookie: b\r\n\r\n",
        "a blank in a name": get + "X A: b\r\n\r\n",
        "a nameless header": get + ": b\r\n\r\n",
        "bytes above ASCII in a header": get + "X-A: \xff\xfe\r\n\r\n",
        "bytes above ASCII in the target": get.replace("/v1/models", "/v1/\xe4\xff") + "\r\n",
        "a null in the target": get.replace("/v1/models", "/v1/mod\0els") + "\r\n",
        "a fragment in the target": get.replace("/v1/models", "/v1/models#x") + "\r\n",
        "a broken escape": get.replace("/v1/models", "/v1/%zz%f%") + "\r\n",
        "a long target": get.replace("/v1/models", "/v1/" + "a" * 100_000) + "\r\n",
        "a long header": get + "X-A: " + "a" * 100_000 + "\r\n\r\n",
        "two thousand headers": get + "".join(f"X-{number}: a\r\n" for number in range(2000)) + "\r\n",
        "a length beyond measure": start + f"Content-Length: {10**30}\r\n\r\n{_BODY}",
        "a length that never comes": start + f"Content-Length: 5000\r\n\r\n{_BODY}",
        "a chunk beyond measure": start + f"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n{_BODY}",
        "a negative chunk": start + f"Transfer-Encoding: chunked\r\n\r\n-5\r\n{_BODY}\r\n0\r\n\r\n",
        "an extended chunk": start + f"Transfer-Encoding: chunked\r\n\r\n{len(_BODY):x};a=b\r\n{_BODY}\r\n0\r\n\r\n",
        "a trailer": start + f"Transfer-Encoding: chunked\r\n\r\n{len(_BODY):x}\r\n{_BODY}\r\n0\r\nAuthorization: x\r\n\r\n",
        "a chunk cut off": start + "Transfer-Encoding: chunked\r\n\r\n50\r\n{",
        "expecting to go on": start + f"Expect: 100-continue\r\nContent-Length: {len(_BODY)}\r\n\r\n{_BODY}",
        "a web socket": get + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "HTTP/2 in the clear": get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n",
        "HTTP/2 at once": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "a TLS greeting": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "a" * 50,
        "blank lines": "\r\n" * 500,
        "noise": "".join(chr(byte * 73 % 256) for byte in range(2000)),
        "sixty at once": (get + "\r\n") * 60,
    }
    written = {**{name: start + rest for name, rest in ambiguous.items()}, **malformed}
    return {name: text.encode("latin-1") for name, text in written.items()}


def sent(address: str, watch: Watch, token: str) -> tuple[Counter[str], list[Finding]]:
    """Send every text; answers what came of them, and what should not have."""
    outcomes: Counter[str] = Counter()
    findings: list[Finding] = []
    for name, text in texts(token).items():
        came = _answer(address, text, SILENCE_SECONDS)
        statuses = re.findall(rb"^HTTP/1\.1 (\d{3}) ", came, re.MULTILINE)
        outcomes.update([status.decode() for status in statuses] or ["closed, or still waiting"])
        findings += [Finding(rule, name, 0, came[:200].decode("latin-1"), "") for rule in _broken(came, statuses, watch)]
        if b"200 OK" not in _answer(address, HONEST, PATIENCE_SECONDS):
            findings.append(Finding("the server answers nobody any more", name, 0, "", ""))
    reached = [told for told in watch.to_account.values() if SMUGGLED_PATH in told.partition("'")[0]]
    findings += [Finding("a smuggled request was answered", "", 0, "", told) for told in reached]
    return outcomes, findings


def _broken(came: bytes, statuses: list[bytes], watch: Watch) -> Iterator[str]:
    if any(status >= b"500" for status in statuses):
        yield "5xx on the wire"
    if watch.holds_secret(came):
        yield "a secret on the wire"
    if b"Traceback" in came or b"site-packages" in came:
        yield "a trace on the wire"


def _answer(address: str, text: bytes, silence: float) -> bytes:
    """All that comes back until the server closes, or says nothing for so many seconds."""
    target = urlsplit(address)
    assert target.hostname is not None  # noqa: S101 (our own server's)
    came = b""
    with socket.create_connection((target.hostname, target.port or 80), timeout=PATIENCE_SECONDS) as connection:
        try:
            connection.sendall(text)
            connection.settimeout(silence)
            while piece := connection.recv(65536):
                came += piece
        except OSError:
            # Closed on us, or silent: both are answers.
            return came
    return came
