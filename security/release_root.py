"""Who decides about releases: the operators and the online key, as they stand in TUF's root metadata.

The operators sign root and targets, a threshold of them together; the station's online key signs snapshot and timestamp.
An operator's name stands beside the key and is signed with it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime

from securesystemslib.signer import Key, SSlibKey  # type: ignore[attr-defined]  # public, but the package has no __all__
from tuf.api.metadata import (  # type: ignore[attr-defined]  # public there, but the module has no __all__
    Metadata,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)

from security._primitives import key_id_of
from security.errors import KeyringError
from security.releases import ApprovalsMissing, NotAnOperator
from security.signing import PublicKey, Signer

_NAME_FIELD = "x-gridward-operator"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_OPERATORS_SIGN = (Root.type, Targets.type)
_ONLINE_SIGNS = (Snapshot.type, Timestamp.type)


@dataclass(frozen=True)
class Approval:
    """Who signed, whose signature would help, and whether it is enough already; names of operators, sorted."""

    signed_by: tuple[str, ...]
    waiting_for: tuple[str, ...]
    complete: bool

    def require(self, what: str, version: int) -> None:
        """Raise ApprovalsMissing unless enough operators signed."""
        if not self.complete:
            raise ApprovalsMissing(what, version, self.signed_by, self.waiting_for)


def first_root(operators: Mapping[str, PublicKey], online: PublicKey, threshold: int, expires: datetime) -> Root:
    """Root version 1. Raises KeyringError where these operators could not decide safely."""
    root = Root(1, expires=expires, consistent_snapshot=True)
    for name, public_key in operators.items():
        _add_operator(root, name, public_key)
    _set_online(root, online)
    for role in _OPERATORS_SIGN:
        root.roles[role].threshold = threshold
    _require_fit(root, len(operators))
    return root


def next_root(
    roots: Mapping[int, Root],
    out: Collection[str],
    into: Mapping[str, PublicKey],
    online: PublicKey | None,
    expires: datetime,
) -> Root:
    """The root after the last of `roots`: operators `out` leave, those in `into` come, `online` replaces the online key.

    Raises KeyringError for a name that is not there or taken, a key that was revoked before, or operators that could not
    decide safely.
    """
    root = deepcopy(roots[max(roots)])
    root.version, root.expires = root.version + 1, expires
    keys_by_name = {name: key_id for key_id, name in operators_in(root).items()}
    for name in out:
        if name not in keys_by_name:
            raise KeyringError("no such operator", where=name, mend=f"the operators are {', '.join(sorted(keys_by_name))}")
        for role in _OPERATORS_SIGN:
            root.revoke_key(keys_by_name[name], role)
    staying = set(keys_by_name) - set(out)
    for name, public_key in into.items():
        if name in staying:
            raise KeyringError("an operator of this name stays", where=name, mend="take the old key out in the same step")
        _require_new(roots, public_key, name)
        _add_operator(root, name, public_key)
    if online is not None:
        _require_new(roots, online, "the online key")
        _set_online(root, online)
    _require_fit(root, len(staying) + len(into))
    return root


def operators_in(root: Root) -> dict[str, str]:
    """The operators' names by key id."""
    return {key_id: _name_of(root.keys[key_id]) for key_id in root.roles[Root.type].keyids}


def operator_name(signer: Signer, *roots: Root) -> str:
    """The operator whose key this is in one of `roots`; raises NotAnOperator."""
    for root in roots:
        if signer.key_id in root.roles[Root.type].keyids:
            return operators_in(root)[signer.key_id]
    raise NotAnOperator(signer.key_id, "not the key of one of today's operators")


def approval(metadata: Metadata[Root] | Metadata[Targets], *roots: Root) -> Approval:
    """What the operators of every one of `roots` say to this metadata; signatures that do not verify count as none."""
    role = metadata.signed.type
    results = [root.get_verification_result(role, metadata.signed_bytes, metadata.signatures) for root in roots]
    signed = {_name_of(key) for result in results for key in result.signed.values()}
    missing = {_name_of(key) for result in results if not result for key in result.unsigned.values()}
    return Approval(tuple(sorted(signed)), tuple(sorted(missing)), all(results))


def keep_valid_signatures(metadata: Metadata[Root] | Metadata[Targets], *roots: Root) -> None:
    """Drop every signature that no operator in `roots` made over these bytes."""
    role = metadata.signed.type
    results = [root.get_verification_result(role, metadata.signed_bytes, metadata.signatures) for root in roots]
    valid = {key_id for result in results for key_id in result.signed}
    for key_id in set(metadata.signatures) - valid:
        del metadata.signatures[key_id]


def _add_operator(root: Root, name: str, public_key: PublicKey) -> None:
    if not _NAME.fullmatch(name):
        raise KeyringError("not a name for an operator", where=name, mend="use up to 32 of a-z, 0-9 and '-'")
    key = SSlibKey.from_crypto(public_key, key_id_of(public_key))
    key.unrecognized_fields[_NAME_FIELD] = name
    for role in _OPERATORS_SIGN:
        root.add_key(key, role)


def _set_online(root: Root, public_key: PublicKey) -> None:
    key = SSlibKey.from_crypto(public_key, key_id_of(public_key))
    for role in _ONLINE_SIGNS:
        for key_id in list(root.roles[role].keyids):
            root.revoke_key(key_id, role)
        root.add_key(key, role)


def _require_fit(root: Root, named: int) -> None:
    """One operator alone never decides, one lost key never blocks, and the online key decides nothing."""
    role = root.roles[Root.type]
    if len(role.keyids) != named:
        raise KeyringError("two operators share a key", where="operators", mend="give each operator a key of their own")
    if not 2 <= role.threshold < named:
        raise KeyringError(
            f"{role.threshold} of {named} operators is not safe",
            where="operators",
            mend="let at least two decide, and at least one more be there for a key that is lost",
        )
    if set(role.keyids) & set(root.roles[Timestamp.type].keyids):
        raise KeyringError("the online key is an operator's", where="operators", mend="use a key of the station's own")


def _require_new(roots: Mapping[int, Root], public_key: PublicKey, whose: str) -> None:
    key_id = key_id_of(public_key)
    if any(key_id in root.keys for root in roots.values()):
        raise KeyringError(
            "this key stands in root already, or was revoked", where=f"{whose}, key {key_id}", mend="make a new key"
        )


def _name_of(key: Key) -> str:
    return str(key.unrecognized_fields.get(_NAME_FIELD, key.keyid))
