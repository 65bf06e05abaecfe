"""TLS of the service itself, for where no reverse proxy stands in front of it; mutual, if a CA for clients is named.

The certificate of a client opens the line and nothing more: who asks is said by the token, because the server hands no
certificate on to the application. TLS 1.2 is the oldest that is spoken (RFC 9325).
"""

from __future__ import annotations

import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from security.errors import KeyringError, UnavailableError

CertificateOption = Annotated[Path | None, typer.Option("--tls-cert", help="Serve over TLS: the certificate chain, PEM.")]
KeyOption = Annotated[Path | None, typer.Option("--tls-key", help="Its private key, PEM, which nobody else may read.")]
ClientCaOption = Annotated[
    Path | None, typer.Option("--client-ca", help="Only clients with a certificate of this CA get through; PEM.")
]


@dataclass(frozen=True)
class Tls:
    """Files in PEM: the server's certificate with its chain, its key, and the CA that signed its clients' certificates."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """The server's context.

        Raises KeyringError for a key that others may touch, UnavailableError for files that are no certificate and key.
        """
        _require_own(self.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # Without it, a key with a passphrase would be asked for on the terminal of a service.
            context.load_cert_chain(self.certificate, self.key, password=lambda: "")
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (ssl.SSLError, OSError) as error:
            files = ", ".join(str(path) for path in (self.certificate, self.key, self.client_ca) if path is not None)
            raise UnavailableError(
                f"TLS cannot use these files: {error.strerror or error}",
                where=files,
                mend="give PEM files that belong together",
            ) from None
        return context

    def for_uvicorn(self, _config: object, _default: object) -> ssl.SSLContext:
        """The `ssl_context_factory` of `uvicorn.Config`."""
        return self.context()


def tls_named(certificate: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
    """What the options name, tried at once; None for plain HTTP. Raises BadParameter for half of it, and as `context`."""
    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise typer.BadParameter("--tls-cert and --tls-key belong together, and --client-ca needs both")
    tls = Tls(certificate, key, client_ca)
    tls.context()
    return tls


def _require_own(key: Path) -> None:
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise UnavailableError(
            f"cannot read the key: {error.strerror}", where=str(key), mend="name the key's file"
        ) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyringError("the private key is open to other users", where=str(key), mend=f"run: chmod 600 {key}")
