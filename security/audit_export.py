"""The audit log in one file that needs nothing else to be verified but the auditor's public key.

JSON lines: what it is (where it begins, how much follows), every signed head of that part, then every entry. It is verified
as it is written, and its last entry has to be a signed one. Where it begins is only as good as the heads: each names the
root of the whole log, which what came before is part of.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

from sqlmodel import Session

from security._primitives import key_id_of, read_public_key
from security.audit_check import StoredEntry, VerifiedLog, check_entries, entries_from
from security.audit_heads import SignedHead, head_line, verified_heads
from security.audit_log import FIELDS, HASH_DIGITS, EntryBroken, Tail, tail_at
from security.errors import IntegrityError, UnavailableError
from security.manifest import canonical_json
from security.merkle import peaks_of

TYPE = "gridward-audit-export-v1"


def export_log(
    transaction: Callable[[], AbstractContextManager[Session]], heads: Sequence[SignedHead], out: Path, after: int = 0
) -> VerifiedLog:
    """Write the entries that follow entry `after`, up to the newest of `heads`, to a new file, verifying them on the way.

    heads: from `read_heads`. Raises AuditLogBroken; UnavailableError when no signed entry follows, or `out` is there.
    """
    if not heads or heads[-1].seq <= after:
        raise UnavailableError(f"no signed entry follows entry {after}: there is nothing to export")
    if out.exists():
        raise _there_already(out)
    with transaction() as session:
        start = tail_at(session, after)
    last, signed = heads[-1].seq, [head for head in heads if head.seq > after]
    header = {
        "type": TYPE,
        "after": after,
        "previous_hash": start.entry_hash,
        "peaks": [peak.hex() for peak in start.peaks],
        "entries": last - after,
        "heads": len(signed),
    }
    # Beside its place and without a name that anybody waits for: nobody finds half an export.
    with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.") as draft:
        draft.write(canonical_json(header) + b"\n")
        draft.writelines(b'{"head":' + head_line(head) + b"}\n" for head in signed)
        verified = check_entries(_copied(entries_from(transaction, after, last), draft), signed, start)
        draft.flush()
        os.fsync(draft.fileno())
        try:
            # Unlike a rename, a link takes nobody's place.
            os.link(draft.name, out)
        except FileExistsError:
            raise _there_already(out) from None
    return verified


def verify_export(path: Path, public_keys: Iterable[str]) -> VerifiedLog:
    """Verify an exported file with nothing but the auditor's public keys, hex or PEM.

    Raises AuditLogBroken, SignatureInvalid, KeyringError for a text that is no key, IntegrityError for another file.
    """
    keys = [read_public_key(text) for text in public_keys]
    trusted = {key_id_of(key): key for key in keys}
    with path.open("rb") as stream:
        try:
            header = json.loads(stream.readline())
            start, many = _start_in(header), header["entries"]
            lines = [canonical_json(json.loads(stream.readline())["head"]) for _ in range(header["heads"])]
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise _malformed(path, "its beginning cannot be read") from error
        heads = verified_heads(lines, trusted, str(path))
        verified = check_entries(_entries_in(stream, path), heads, start)
    if verified.entries != many:
        raise EntryBroken(start.seq + verified.entries + 1, f"the file has {verified.entries} of its {many} entries")
    if not heads or heads[-1].seq != start.seq + many:
        raise EntryBroken(start.seq + many, "the last entry of the file is not a signed one: the end was cut off")
    return verified


def _copied(entries: Iterable[StoredEntry], stream: IO[bytes]) -> Iterator[StoredEntry]:
    for entry in entries:
        stream.write(canonical_json({"entry": dict(entry.fields)}) + b"\n")
        yield entry


def _start_in(header: dict[str, Any]) -> Tail:
    after, peaks = header["after"], tuple(bytes.fromhex(peak) for peak in header["peaks"])
    well_formed = header["type"] == TYPE and type(after) is int and after >= 0 and type(header["entries"]) is int
    if not well_formed or len(peaks) != len(peaks_of(after)) or any(len(peak) * 2 != HASH_DIGITS for peak in peaks):
        raise ValueError("no such beginning")
    return Tail(after, header["previous_hash"], peaks)


def _entries_in(stream: Iterable[bytes], path: Path) -> Iterator[StoredEntry]:
    for line in stream:
        try:
            fields = json.loads(line)["entry"]
            if set(fields) != set(FIELDS):
                raise ValueError("not the members of an entry")
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise _malformed(path, "a line is no entry") from error
        yield StoredEntry(fields, None)


def _malformed(path: Path, why: str) -> IntegrityError:
    mend = "export the log again, and keep this file as evidence"
    return IntegrityError(f"not an export of an audit log: {why}", where=str(path), mend=mend)


def _there_already(out: Path) -> UnavailableError:
    return UnavailableError("this file is there already", where=str(out), mend="name a new file")
