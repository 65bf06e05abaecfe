"""Signed heads: states of the audit log that the auditor's key vouched for, one JSON line each, kept elsewhere.

There are up to two files: the station's own, and a witness on another disk or host. What an intruder does to the log has to
agree with both. Version 2 of a line names the Merkle tree by size and root hash, and the last entry's hash; lines of
version 1 name the last entry alone, and go on being verified.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import text
from sqlmodel import Session

from security.audit_log import EntryBroken, tail_of
from security.errors import SignatureInvalid, UnavailableError
from security.keyring import utc_text
from security.manifest import canonical_json
from security.merkle import root_of
from security.signing import PublicKey, Signer, sign_bytes, verify_bytes

_HEADS_LOCK = 0x67776175 + 1
# Longer than any line.
_LINE_LIMIT_BYTES = 4096
_SIGN_FIRST = "point at the file that sign_head writes, or sign a first head"


@dataclass(frozen=True)
class SignedHead:
    """A state of the log that the auditor's key vouched for: made by `sign_head`, or verified by `verified_head`.

    seq: the last entry, which is the size of the tree; root_hash: hex, empty in version 1; signature: hex.
    """

    seq: int
    entry_hash: str
    at: datetime
    key_id: str
    root_hash: str = ""
    signature: str = ""

    @property
    def signed(self) -> str:
        """The text that the signature is of, as `signing.sign_bytes` makes one."""
        version = "v2" if self.root_hash else "v1"
        return canonical_json({"type": f"gridward-audit-head-{version}", **_fields(self)}).decode("utf-8")


def sign_head(session: Session, signer: Signer, heads_path: Path, at: datetime, witness: Path | None = None) -> SignedHead:
    """Vouch for the log as it ends now: one line appended to `heads_path`, which belongs on another disk or host.

    witness: a second file, to which every line goes that it has not yet; one that is away gets them when it is back.
    Call it after a commit: a signed entry that is rolled back looks cut off. Raises UnavailableError when the log is empty,
    or a file cannot be written.
    """
    only_one_signs(session)
    tail = tail_of(session)
    if tail.seq == 0:
        raise UnavailableError("the audit log is empty: there is no head to sign", mend="append an entry first")
    moment, root = datetime.fromisoformat(utc_text(at)), root_of(list(tail.peaks)).hex()
    unsigned = SignedHead(tail.seq, tail.entry_hash, moment, signer.key_id, root)
    head = replace(unsigned, signature=sign_bytes(unsigned.signed.encode("utf-8"), signer).hex())
    before, line = _last_line(heads_path), head_line(head)
    heads_path.parent.mkdir(parents=True, exist_ok=True)
    _append_lines(heads_path, [line])
    if witness is not None:
        # Its folder is not made: where another disk is to be mounted, an empty folder would pass for it.
        in_step = _last_line(witness) == before
        _append_lines(witness, [line] if in_step else _not_yet_in(witness, heads_path))
    return head


def head_signed(session: Session, heads_path: Path) -> bool:
    """Whether the last line of the file names the log's last entry. It verifies nothing: `read_heads` does."""
    last = session.connection().execute(text("SELECT MAX(seq) FROM audit_entry")).scalar_one() or 0
    line = _last_line(heads_path)
    try:
        fields = json.loads(line) if line else {"seq": 0}
        return bool(fields.get("tree_size", fields.get("seq")) == last)
    except (AttributeError, ValueError):
        return False


def newest_head(heads_path: Path, trusted: Mapping[str, PublicKey]) -> SignedHead | None:
    """The last line of the file, verified; None before the first. Raises SignatureInvalid."""
    line = _last_line(heads_path)
    return verified_head(line, trusted, f"{heads_path}, last line") if line else None


def read_heads(heads_path: Path, trusted: Mapping[str, PublicKey]) -> list[SignedHead]:
    """Every signed head in the file, oldest first, each verified with a trusted key of purpose `audit`.

    Raises UnavailableError when there is no file (a missing witness is not a clean log), SignatureInvalid for a line
    that no trusted key signed, AuditLogBroken for heads that run backwards.
    """
    return verified_heads(head_lines(heads_path), trusted, str(heads_path))


def head_lines(heads_path: Path) -> list[bytes]:
    """The file's lines, none of them verified. Raises UnavailableError as `read_heads`."""
    try:
        return heads_path.read_bytes().splitlines()
    except FileNotFoundError:
        raise UnavailableError(
            "no signed heads: a cut-off end of the audit log could not be seen", where=str(heads_path), mend=_SIGN_FIRST
        ) from None


def verified_heads(lines: Iterable[bytes], trusted: Mapping[str, PublicKey], where: str) -> list[SignedHead]:
    """The same of lines; `where` they are from. Raises SignatureInvalid, AuditLogBroken."""
    heads = [verified_head(line, trusted, f"{where}, line {number}") for number, line in enumerate(lines, 1)]
    for earlier, later in itertools.pairwise(heads):
        if later.seq < earlier.seq or (later.seq == earlier.seq and later.entry_hash != earlier.entry_hash):
            raise EntryBroken(later.seq, f"signed after entry {earlier.seq}: the heads contradict each other")
    return heads


def require_same_heads(own: Sequence[SignedHead], witness: Sequence[SignedHead]) -> None:
    """Raise AuditLogBroken for the first head that stands in one file and not in the other: lost, or contradicted."""
    for mine, other in itertools.zip_longest(own, witness):
        if mine == other:
            continue
        if mine is not None and other is not None:
            raise EntryBroken(min(mine.seq, other.seq), "the station's signed heads and the witness's contradict each other")
        odd, where, not_in = (mine, "station's", "witness's") if other is None else (other, "witness's", "station's")
        why = f"a head signed at {utc_text(odd.at)} stands in the {where} file and not in the {not_in}"
        raise EntryBroken(odd.seq, why)


def verified_head(line: bytes, trusted: Mapping[str, PublicKey], where: str) -> SignedHead:
    """One line, verified. Raises SignatureInvalid."""
    try:
        fields = json.loads(line)
        last = fields["tree_size" if "root_hash" in fields else "seq"]
        head = SignedHead(
            last,
            fields["entry_hash"],
            datetime.fromisoformat(fields["at"]),
            fields["key_id"],
            fields.get("root_hash", ""),
            fields["signature"],
        )
        if fields != _fields(head) | {"signature": head.signature}:
            raise ValueError("members that nobody signed")
        verify_bytes(head.signed.encode("utf-8"), bytes.fromhex(head.signature), trusted[head.key_id])
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, SignatureInvalid) as error:
        raise SignatureInvalid(
            "no trusted key signed this head of the audit log", where=where, mend="restore the heads from their backup"
        ) from error
    return head


def head_line(head: SignedHead) -> bytes:
    """The head as its line in the file, without the line's end."""
    return canonical_json({**_fields(head), "signature": head.signature})


def only_one_signs(session: Session) -> None:
    """Until this transaction ends no other process writes heads; on SQLite its write lock does that.

    For whoever reads both files as well: between the two, a writer is caught in the middle.
    """
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_HEADS_LOCK})")


def _fields(head: SignedHead) -> dict[str, object]:
    same = {"entry_hash": head.entry_hash, "at": utc_text(head.at), "key_id": head.key_id}
    if not head.root_hash:
        return {"seq": head.seq, **same}
    return {"tree_size": head.seq, "root_hash": head.root_hash, **same}


def _append_lines(path: Path, lines: Sequence[bytes]) -> None:
    try:
        with path.open("ab", buffering=0) as stream:
            # Half a line, left by a full disk or a power cut, would spoil the next one; nobody vouched for it.
            whole = _end_of_whole_lines(path)
            os.ftruncate(stream.fileno(), whole)
            text = b"".join(line + b"\n" for line in lines)
            if stream.write(text) != len(text):
                os.ftruncate(stream.fileno(), whole)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(stream.fileno())
    except OSError as error:
        raise UnavailableError(
            f"a signed head of the audit log could not be written: {error.strerror}", where=str(path), mend="mount the disk"
        ) from error


def _end_of_whole_lines(path: Path) -> int:
    """Where the last line that was written whole ends [bytes]."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        start = stream.seek(max(0, size - _LINE_LIMIT_BYTES))
        return start + stream.read().rfind(b"\n") + 1


def _last_line(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _LINE_LIMIT_BYTES))
            return (stream.read().splitlines() or [b""])[-1]
    except FileNotFoundError:
        return b""


def _not_yet_in(witness: Path, heads_path: Path) -> list[bytes]:
    """What follows the witness's last line in the own file; the newest alone where the two contradict each other."""
    if not witness.parent.is_dir():
        # Away: the writing says so, without everything having been read first.
        return []
    own, last = heads_path.read_bytes().splitlines(), _last_line(witness)
    if not last:
        return own
    return own[own.index(last) + 1 :] if last in own else own[-1:]
