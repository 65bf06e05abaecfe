"""The KMS over HTTP, against a server on this machine that speaks Vault's transit API, well and badly."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from security import kms
from security.errors import KeyringError, UnavailableError
from security.kms import VaultKey, require_uri, vault_key
from tests.unit.security.small_vault import TOKEN, SmallVault

CONTEXT = b"a use"


@pytest.fixture
def vault() -> Iterator[SmallVault]:
    with SmallVault() as running:
        yield running


def key_of(vault: SmallVault, name: str = "station") -> VaultKey:
    return vault_key(vault.uri(name), SecretStr(TOKEN))


def test_what_the_service_wrapped_it_unwraps_and_it_never_sees_where_it_is_kept(vault: SmallVault) -> None:
    wrapped = key_of(vault).wrap(b"a master key", CONTEXT)

    assert wrapped.startswith("vault:v1:")
    assert key_of(vault).unwrap(wrapped, CONTEXT) == b"a master key"
    assert vault.asked == ["/v1/transit/encrypt/station", "/v1/transit/decrypt/station"]


def altered(wrapped: str) -> str:
    return wrapped[:-6] + ("AAAA" if wrapped[-6:-2] != "AAAA" else "BBBB") + wrapped[-2:]


def test_an_altered_ciphertext_another_use_and_another_key_are_refused(vault: SmallVault) -> None:
    wrapped = key_of(vault).wrap(b"a master key", CONTEXT)
    for attempt in (
        lambda: key_of(vault).unwrap(altered(wrapped), CONTEXT),
        lambda: key_of(vault).unwrap(wrapped, b"another use"),
        lambda: key_of(vault, "other").unwrap(wrapped, CONTEXT),
        lambda: key_of(vault).unwrap("vault:v1:", CONTEXT),
    ):
        with pytest.raises(KeyringError, match="does not open the master key"):
            attempt()


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("forbidden", "refuses the token"),
        ("redirect", "sends us elsewhere"),
        ("sealed", "status 503"),
        ("no such key", "status 404"),
        ("no json", "something else than Vault"),
        ("other json", "something else than Vault"),
        ("too much", "answers with too much"),
        ("silent", "did not answer in"),
        ("dripping", "was not done in"),
        ("hangs up", "hangs up"),
    ],
)
def test_a_service_that_does_not_do_it_is_unavailable_in_one_line_without_the_secret(
    vault: SmallVault, monkeypatch: pytest.MonkeyPatch, way: str, why: str
) -> None:
    monkeypatch.setattr(kms, "DEADLINE_SECONDS", 0.4)
    vault.way = way
    begun = time.perf_counter()
    for attempt in (
        lambda: key_of(vault).wrap(b"a master key", CONTEXT),
        lambda: key_of(vault).unwrap("vault:v1:x", CONTEXT),
    ):
        with pytest.raises(UnavailableError, match=why) as refusal:
            attempt()
        assert "\n" not in str(refusal.value)
        assert TOKEN not in str(refusal.value)
        assert "master key" not in str(refusal.value)
    assert time.perf_counter() - begun < 5
    # A redirect is not followed: nobody else gets the token.
    assert not [path for path in vault.asked if "elsewhere" in path]


def test_a_ciphertext_or_plaintext_that_is_none_is_not_believed(vault: SmallVault) -> None:
    vault.way = "nonsense"
    with pytest.raises(UnavailableError, match="no ciphertext"):
        key_of(vault).wrap(b"a master key", CONTEXT)
    with pytest.raises(UnavailableError, match="no plaintext"):
        key_of(vault).unwrap("vault:v1:x", CONTEXT)


def test_nobody_listening_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(UnavailableError, match="cannot be asked"):
        vault_key(f"vault://127.0.0.1:{port}/transit/keys/station", SecretStr(TOKEN)).wrap(b"x", CONTEXT)


def test_a_proxy_in_the_environment_is_not_asked(vault: SmallVault, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert key_of(vault).unwrap(key_of(vault).wrap(b"x", CONTEXT), CONTEXT) == b"x"


@pytest.mark.parametrize(
    ("host", "scheme"),
    [
        ("127.0.0.1:8200", "http"),
        ("localhost", "http"),
        ("[::1]:8200", "http"),
        ("vault.example:8200", "https"),
        ("10.0.0.1", "https"),
        ("localhost.example", "https"),
    ],
)
def test_only_this_machine_is_asked_without_tls(host: str, scheme: str) -> None:
    assert vault_key(f"vault://{host}/transit/keys/k", SecretStr(TOKEN)).address == f"{scheme}://{host}"


def test_certificates_are_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Transport:
        def __init__(self, verify: ssl.SSLContext) -> None:
            seen.append(verify)
            raise kms.httpx.ConnectError("stop here")

    monkeypatch.setattr(kms.httpx, "HTTPTransport", Transport)
    with pytest.raises(UnavailableError):
        vault_key("vault://vault.example/transit/keys/k", SecretStr(TOKEN)).wrap(b"x", CONTEXT)
    (context,) = seen
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize(
    "uri",
    [
        "", "vault://", "vault://host", "vault://host/transit/keys/", "vault://host/transit/keys/a/b", "https://host/transit/keys/a",
        "aws-kms://arn:aws:kms:x", "vault://user:pass@host/transit/keys/a", "vault://host/transit/keys/..", "vault://host:x/transit/keys/a",
        "vault://host/transit/keys/a?b=c", "vault://host/transit/keys/a\n", "vault://h/a/b/keys/c",
    ],
)  # fmt: skip
def test_a_name_of_no_known_kms_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=re.escape("vault://host[:port]/transit/keys/NAME")):
        require_uri(uri)


@pytest.mark.parametrize("token", [None, "", "two\nlines", "two words", "ümlaut", "nul\0"])
def test_without_a_token_that_can_be_sent_nothing_is_asked_and_it_is_not_shown(token: str | None) -> None:
    with pytest.raises(UnavailableError, match="GRIDWARD_VAULT_TOKEN: no token") as refusal:
        vault_key("vault://127.0.0.1/transit/keys/a", None if token is None else SecretStr(token))
    assert not token or token not in str(refusal.value)


def test_an_error_that_quotes_what_was_sent_is_not_passed_on(vault: SmallVault) -> None:
    sent = VaultKey(
        f"http{vault.uri('a').removeprefix('vault').partition('/transit')[0]}", "transit", "a", SecretStr("a\nb")
    )
    with pytest.raises(UnavailableError, match="something else than HTTP") as refusal:
        sent.wrap(b"x", CONTEXT)
    assert "a\\nb" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_printing_a_key_shows_no_token(vault: SmallVault) -> None:
    shown = f"{key_of(vault)!r} {key_of(vault)}"
    assert "station" in shown
    assert TOKEN not in shown
