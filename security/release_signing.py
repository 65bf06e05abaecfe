"""An operator signs a proposal where the station is not: what lies in it is read, and held against the operator's words.

Nobody signs what lies there unread: the bytes have to be the next list of releases and nothing else (no root, which would
change who decides), written as TUF writes it, and each release in it the one that the proposal says it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, TargetFile, Targets  # type: ignore[attr-defined]  # public, no __all__
from tuf.api.serialization.json import CanonicalJSONSerializer, JSONDeserializer

from security._primitives import sign
from security.errors import IntegrityError
from security.releases import Release, release_content
from security.signing import Signer


class ProposalRefused(IntegrityError):
    """Bytes that an operator should not sign: `why`."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why, where="proposal", mend="fetch it from the service again; sign nothing that you did not expect")


@dataclass(frozen=True)
class Read:
    """What a proposal would put in force: its version, each role's release, and until when the approval holds (UTC)."""

    version: int
    releases: tuple[Release, ...]
    expires: datetime


def read_proposal(content: bytes, releases: Sequence[Release]) -> Read:
    """What `content` says, if it is a list of exactly these releases. Raises ProposalRefused."""
    envelope = b'{"signatures":[],"signed":' + content + b"}"
    try:
        metadata: Metadata[Targets] = JSONDeserializer().deserialize(envelope)
        if metadata.signed.type != Targets.type:
            raise ProposalRefused(f"this is {metadata.signed.type}, not the list of releases")
        listed = metadata.signed.targets
        told = {release.role: release for release in releases}
        if metadata.signed.delegations is not None or listed.keys() != {f"{role}.json" for role in told}:
            raise ProposalRefused("it lists other releases than the proposal says")
        for role, release in told.items():
            target = TargetFile.from_data(f"{role}.json", release_content(release), ["sha256"])
            if target.to_dict() != listed[f"{role}.json"].to_dict():
                raise ProposalRefused(f"its release of role {role} is not the one that the proposal says")
        if CanonicalJSONSerializer().serialize(metadata.signed) != content:
            raise ProposalRefused("it is not written as TUF writes it")
    except (RepositoryError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ProposalRefused(f"it cannot be read: {type(error).__name__}") from None
    return Read(metadata.signed.version, tuple(told.values()), metadata.signed.expires)


def sign_proposal(content: bytes, signer: Signer) -> bytes:
    """The operator's 64-byte signature over a proposal that `read_proposal` read."""
    return sign(signer.private_key, content)
