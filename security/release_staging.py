"""What operators have signed and nobody has published yet: one staged file, to which each of them adds a signature.

An operator who signs says what shall change and never signs what lies there unread: the signature is added only where
the operator's own words give exactly the staged metadata, but for an expiry that another clock set.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from tuf.api.metadata import Metadata, Root, Targets  # type: ignore[attr-defined]  # public, the module has no __all__

from security.release_files import Operated, add_signature, parse, read_file, write_whole
from security.release_root import keep_valid_signatures
from security.releases import ReleaseConflict, refusals
from security.signing import Signer

# Operators' clocks may differ by this much: the second still signs the expiry that the first one set.
CLOCK_TOLERANCE = timedelta(days=1)


def stage(
    path: Path, wanted: Operated, signer: Signer | None, judges: tuple[Root, ...], now: datetime, *, replace: bool
) -> Metadata[Operated]:
    """Sign `wanted` beside the operators (of `judges`) who staged the same before; what another version left is dropped.

    signer: None to stage it for operators who sign elsewhere. Raises ReleaseConflict when something else is staged for this
    version and `replace` does not drop it.
    """
    staged = None if replace else read_staged(path, type(wanted), wanted.version, now)
    if staged is None:
        staged = Metadata(wanted)
    elif not _same_but_expiry(wanted, staged.signed):
        raise ReleaseConflict(
            f"another proposal for version {wanted.version} is staged",
            where=str(path),
            mend="approve that one as it is, or replace it",
        )
    keep_valid_signatures(staged, *judges)
    if signer is not None:
        add_signature(staged, signer)
    write_whole(path, staged.to_bytes())
    return staged


def read_staged(path: Path, kind: type[Operated], version: int, now: datetime) -> Metadata[Operated] | None:
    """What is staged for `version`, its signatures not verified; None where there is nothing of it, or it ran out."""
    if not path.exists():
        return None
    with refusals(path):
        metadata = parse(kind, read_file(path.parent, path.name))
    return metadata if metadata.signed.version == version and now < metadata.signed.expires else None


def _same_but_expiry(wanted: Root | Targets, staged: Root | Targets) -> bool:
    if staged.expires > wanted.expires + CLOCK_TOLERANCE:
        return False
    as_staged = staged.to_dict()
    return bool({**wanted.to_dict(), "expires": as_staged["expires"]} == as_staged)
