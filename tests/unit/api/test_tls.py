"""TLS without a proxy: a real server, certificates made for the test, and clients with and without one."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
import typer
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.tls import Tls, tls_named
from security.errors import KeyringError, UnavailableError
from tests.unit.api.small_station import Service


class Authority:
    """A CA of its own, in memory."""

    def __init__(self, place: Path, name: str) -> None:
        self.place, self.name = place, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._signed(self.name, self.key, ca=True)
        self.file = place / f"{name}.ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for this machine, and its key, for the owner alone."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, ca=False)
        files = self.place / f"{name}.pem", self.place / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].touch(mode=0o600)
        files[1].write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return files

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now, public = datetime.now(UTC), key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if ca:
            builder = builder.add_extension(_signs_certificates(), critical=True)
        return builder.sign(self.key, hashes.SHA256())


def _signs_certificates() -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name == "key_cert_sign" for name in names})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@contextmanager
def served(service: Service, tls: Tls) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(service.app, log_config=None, lifespan="off", ssl_context_factory=tls.for_uvicorn)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def client_context(authority: Authority, own: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    if own is not None:
        context.load_cert_chain(*own)
    return context


def test_a_client_that_trusts_the_ca_is_answered_and_still_needs_a_token(service: Service, authority: Authority) -> None:
    certificate, key = authority.issue("server")
    token = {"Authorization": f"Bearer {service.token('analyst')}"}
    with (
        served(service, Tls(certificate, key)) as address,
        httpx.Client(base_url=address, verify=client_context(authority)) as client,
    ):
        assert client.get("/healthz").status_code == 200
        assert client.get("/v1/whoami").status_code == 401
        assert client.get("/v1/whoami", headers=token).json()["subject"] == "analyst-1"


def test_with_a_client_ca_only_its_certificates_get_through_and_open_nothing_without_a_token(
    service: Service, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("server")
    stranger = Authority(tmp_path, "theirs")
    with served(service, Tls(certificate, key, client_ca=authority.file)) as address:
        for own in (None, stranger.issue("mallory")):
            with (
                httpx.Client(base_url=address, verify=client_context(authority, own)) as client,
                pytest.raises(httpx.TransportError),
            ):
                client.get("/healthz")
        with httpx.Client(base_url=address, verify=client_context(authority, authority.issue("ann"))) as client:
            assert client.get("/healthz").status_code == 200
            assert client.get("/v1/whoami").status_code == 401


def test_nothing_older_than_tls_1_2_is_spoken(authority: Authority) -> None:
    assert Tls(*authority.issue("server")).context().minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_key_that_others_may_read_is_refused(authority: Authority, mode: int) -> None:
    certificate, key = authority.issue("server")
    key.chmod(mode)

    with pytest.raises(KeyringError, match="open to other users"):
        tls_named(certificate, key, None)


def test_files_that_do_not_belong_together_are_refused_before_the_service_starts(authority: Authority) -> None:
    certificate, key = authority.issue("server")
    _, other_key = authority.issue("other")

    for files in ((certificate, other_key, None), (key, key, None), (certificate, key, key)):
        with pytest.raises(UnavailableError, match="TLS cannot use"):
            tls_named(*files)
    with pytest.raises(UnavailableError, match="cannot read the key"):
        tls_named(certificate, key.with_name("gone"), None)


def test_the_options_are_whole_or_left_out(authority: Authority) -> None:
    certificate, key = authority.issue("server")

    assert tls_named(None, None, None) is None
    for options in ((certificate, None, None), (None, key, None), (None, None, certificate)):
        with pytest.raises(typer.BadParameter, match="belong together"):
            tls_named(*options)
