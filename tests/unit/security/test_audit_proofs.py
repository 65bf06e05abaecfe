from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from security.audit_proofs import prove_consistency, prove_inclusion
from security.errors import AuditLogBroken
from tests.unit.security.audit_station import AuditStation, audit_station
from tests.unit.security.rfc9162 import consistency_holds, inclusion_holds, of_leaf

SIZE = 37


@pytest.fixture
def station(database_url: str, tmp_path: Path) -> Iterator[AuditStation]:
    with audit_station(database_url, tmp_path / "home") as opened:
        opened.write(20)
        opened.write(SIZE - 20, first=21)
        opened.sign()
        yield opened


def raw(hashes: tuple[str, ...]) -> list[bytes]:
    return [bytes.fromhex(one) for one in hashes]


def test_an_entry_is_shown_to_stand_in_a_signed_log_without_the_rest(station: AuditStation) -> None:
    root = bytes.fromhex(station.read_heads()[-1].root_hash)
    with station.transaction() as session:
        for seq in range(1, SIZE + 1):
            proof = prove_inclusion(session, seq, SIZE)
            leaf = of_leaf(proof.leaf.encode())
            assert leaf.hex() == proof.leaf_hash
            assert json.loads(proof.leaf)["subject"] == f"day {seq}"
            assert bytes.fromhex(proof.root_hash) == root
            assert inclusion_holds(seq - 1, SIZE, leaf, raw(proof.path), root)


def test_a_log_is_shown_to_have_only_grown(station: AuditStation) -> None:
    with station.transaction() as session:
        for first in range(1, SIZE + 1):
            proof = prove_consistency(session, first, SIZE)
            roots = bytes.fromhex(proof.first_root), bytes.fromhex(proof.second_root)
            assert consistency_holds(first, SIZE, *roots, raw(proof.path))
            assert proof.first_root == prove_inclusion(session, 1, first).root_hash


def test_what_is_not_there_is_not_proved(station: AuditStation) -> None:
    with station.transaction() as session:
        for seq, size in ((0, 3), (4, 3), (1, SIZE + 1), (SIZE + 1, SIZE + 1)):
            with pytest.raises(ValueError, match=r"does not stand|the log has 37 entries"):
                prove_inclusion(session, seq, size)
        for first, second in ((0, 3), (4, 3), (1, SIZE + 1)):
            with pytest.raises(ValueError, match=r"does not grow|the log has 37 entries"):
                prove_consistency(session, first, second)


def test_the_tree_of_an_old_log_is_stored_when_a_proof_needs_it(station: AuditStation) -> None:
    station.behind_the_triggers("DELETE FROM audit_node WHERE seq > 13")
    with station.transaction() as session:
        assert prove_inclusion(session, 5, 13).tree_size == 13
        assert prove_inclusion(session, 30, SIZE).root_hash == station.read_heads()[-1].root_hash
    assert station.verify().tree_nodes == SIZE


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET actor = 'mallory' WHERE seq = 6",
        "DELETE FROM audit_node WHERE seq = 6",
        "UPDATE audit_node SET hashes = 'zz' WHERE seq = 6",
        "UPDATE audit_node SET hashes = substr(hashes, 1, 60) WHERE seq = 6",
    ],
)
def test_an_entry_that_is_not_what_the_tree_has_of_it_is_not_proved(station: AuditStation, statement: str) -> None:
    station.behind_the_triggers(statement)
    with station.transaction() as session, pytest.raises(AuditLogBroken) as broken:
        prove_inclusion(session, 6, SIZE)
    assert broken.value.seq == 6
