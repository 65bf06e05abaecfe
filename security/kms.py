"""A key in a key management service, which wraps the station's master key and never leaves the service.

    vault://host[:port]/transit/keys/NAME     HashiCorp Vault or OpenBao, transit engine, a key of an AEAD type

Held here: TLS with the system's certificates (`SSL_CERT_FILE` names others), without it only to this machine itself; no
redirects, no proxies; one deadline and one limit on the size of answers. Errors name the service and never what was sent.

Source: Vault HTTP API, Transit, "Encrypt data" and "Decrypt data" (`associated_data` binds a ciphertext to its use).
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import ssl
import time
from dataclasses import dataclass, field

import httpx
from pydantic import SecretStr

from security.errors import KeyringError, UnavailableError

DEADLINE_SECONDS = 10.0
LARGEST_ANSWER_BYTES = 64 * 1024
TOKEN_VARIABLE = "GRIDWARD_VAULT_TOKEN"  # noqa: S105 (the name of a variable)

_URI = re.compile(
    r"vault://(?P<authority>(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?)"
    r"/(?P<mount>[A-Za-z0-9_-]+)/keys/(?P<name>[A-Za-z0-9_-]+)"
)

_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class VaultKey:
    """One key of a transit engine, and the token that may use it; printing it shows the address only."""

    address: str
    mount: str
    name: str
    _token: SecretStr = field(repr=False)

    def wrap(self, secret: bytes, context: bytes) -> str:
        """The secret as the service encrypted it, bound to the context. Raises UnavailableError, KeyringError."""
        ciphertext = self._ask("encrypt", {"plaintext": _text(secret), "associated_data": _text(context)}, "ciphertext")
        if not ciphertext.startswith("vault:"):
            raise self._unavailable("answers with something that is no ciphertext", "check that it is a transit engine")
        return ciphertext

    def unwrap(self, wrapped: str, context: bytes) -> bytes:
        """What `wrap` was given. Raises UnavailableError; KeyringError for altered bytes, or those of another key."""
        plaintext = self._ask("decrypt", {"ciphertext": wrapped, "associated_data": _text(context)}, "plaintext")
        try:
            return base64.b64decode(plaintext, validate=True)
        except ValueError:
            raise self._unavailable(
                "answers with something that is no plaintext", "check that it is a transit engine"
            ) from None

    def _ask(self, verb: str, content: dict[str, str], wanted: str) -> str:
        headers = {"X-Vault-Token": self._token.get_secret_value(), "X-Vault-Request": "true"}
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), DEADLINE_SECONDS)
        url = f"{self.address}/v1/{self.mount}/{verb}/{self.name}"
        request = httpx.Request("POST", url, headers=headers, json=content, extensions={"timeout": timeout})
        status, answer = self._sent(request)
        self._require_success(status, verb)
        try:
            value = json.loads(answer)["data"][wanted]
        except (KeyError, TypeError, ValueError, RecursionError):
            value = None
        if not isinstance(value, str):
            raise self._unavailable("answers with something else than Vault does", "check its address")
        return value

    def _sent(self, request: httpx.Request) -> tuple[int, bytes]:
        """The bare transport: it follows no redirect and reads no proxy from the environment."""
        ends, answer = time.monotonic() + DEADLINE_SECONDS, b""
        try:
            with httpx.HTTPTransport(verify=ssl.create_default_context()) as transport:
                response = transport.handle_request(request)
                try:
                    for piece in response.iter_raw():
                        answer += piece
                        if len(answer) > LARGEST_ANSWER_BYTES:
                            raise self._unavailable("answers with too much", "check its address")
                        if time.monotonic() > ends:
                            raise self._unavailable(f"was not done in {DEADLINE_SECONDS:g} s", "try again later")
                finally:
                    response.close()
                return response.status_code, answer
        except httpx.TimeoutException:
            raise self._unavailable(f"did not answer in {DEADLINE_SECONDS:g} s", "check it, and the network") from None
        except httpx.ProtocolError:
            # What it says may quote what was sent.
            raise self._unavailable("hangs up, or speaks something else than HTTP", "check its address") from None
        except httpx.TransportError as error:
            raise self._unavailable(f"cannot be asked: {error}", "check its address, certificate, and the network") from None

    def _require_success(self, status: int, verb: str) -> None:
        if status == httpx.codes.OK:
            return
        if status == httpx.codes.BAD_REQUEST and verb == "decrypt":
            raise KeyringError(
                "the KMS does not open the master key: it was altered, or wrapped with another key",
                where=str(self),
                mend="check GRIDWARD_KMS_URI, then restore the file from its copy",
            )
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise self._unavailable("refuses the token", f"renew {TOKEN_VARIABLE}, and check what its policy allows")
        if 300 <= status < 400:
            raise self._unavailable("sends us elsewhere, and is not followed", "name the active server in GRIDWARD_KMS_URI")
        raise self._unavailable(f"answers with status {status}", "check that it is unsealed and has the key")

    def _unavailable(self, problem: str, mend: str) -> UnavailableError:
        return UnavailableError(f"the KMS {problem}", where=str(self), mend=mend)

    def __str__(self) -> str:
        return f"{self.address}/{self.mount}/keys/{self.name}"


def vault_key(uri: str, token: SecretStr | None) -> VaultKey:
    """The key that a URI names. Raises ValueError as `require_uri`, UnavailableError without a token that can be sent."""
    parts = require_uri(uri)
    if token is None or not _TOKEN.fullmatch(token.get_secret_value()):
        raise UnavailableError("no token for the KMS", where=TOKEN_VARIABLE, mend="set it to the token and nothing else")
    scheme = "http" if _is_this_machine(parts["host"]) else "https"
    return VaultKey(f"{scheme}://{parts['authority']}", parts["mount"], parts["name"], token)


def require_uri(uri: str) -> re.Match[str]:
    """The parts of a URI. Raises ValueError for anything but `vault://host[:port]/transit/keys/NAME`."""
    parts = _URI.fullmatch(uri)
    if parts is None:
        raise ValueError("a KMS is named as vault://host[:port]/transit/keys/NAME; no other kind is known here")
    return parts


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
