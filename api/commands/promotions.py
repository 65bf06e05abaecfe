"""`gridward registry sign`: an operator signs a proposal of the service, where the station is not."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from api.console import open_settings
from api.output import print_json
from security.errors import UnavailableError
from security.operators import load_operator
from security.release_signing import ProposalRefused, read_proposal, sign_proposal
from security.releases import Release
from security.sealed_bundle import id_of

_LARGEST_BYTES = 2**20


def sign(
    file: Annotated[Path, typer.Argument(help="The answer of POST /v1/models/{id}/promotion, as JSON.")],
    model: Annotated[str, typer.Option("--model", help="The model that you want in service: nothing else is signed.")],
    key: Annotated[Path, typer.Option("--key", help="Your key file; GRIDWARD_OPERATOR_PASSPHRASE opens it.")],
) -> None:
    """Read a proposal, show on stderr what it puts in force, sign it, and print the body of POST …/approvals."""
    passphrase = open_settings().operator_passphrase
    if passphrase is None or not passphrase.get_secret_value():
        raise UnavailableError("no operator's passphrase", where="GRIDWARD_OPERATOR_PASSPHRASE", mend="set it first")
    content, releases = _read(file)
    proposed = read_proposal(content, releases)
    if model not in {id_of(release.model) for release in proposed.releases}:
        raise ProposalRefused(f"it does not put model {model} in service")
    for release in proposed.releases:
        mark = "   <- this is what you sign for" if id_of(release.model) == model else ""
        typer.echo(f"{release.role}: model {id_of(release.model)}, release {release.version}{mark}", err=True)
    typer.echo(f"releases version {proposed.version}, approved until {proposed.expires:%Y-%m-%d}", err=True)
    signer = load_operator(key, passphrase)
    signature = base64.b64encode(sign_proposal(content, signer)).decode("ascii")
    print_json({"key_id": signer.key_id, "signature": signature})


def _read(file: Path) -> tuple[bytes, list[Release]]:
    """The bytes to sign, and what the service says of them. Raises ProposalRefused."""
    with file.open("rb") as stream:
        text = stream.read(_LARGEST_BYTES)
    try:
        told: dict[str, Any] = json.loads(text)
        releases = [Release(str(one["role"]), str(one["model"]), int(one["version"])) for one in told["releases"]]
        return base64.b64decode(told["to_sign"], validate=True), releases
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        raise ProposalRefused("the file is not the service's answer to a proposal") from None
