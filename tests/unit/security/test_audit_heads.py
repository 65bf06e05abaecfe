from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from security.audit_check import verify_log
from security.audit_heads import SignedHead, head_line, head_signed, newest_head, read_heads, require_same_heads
from security.errors import AuditLogBroken, SignatureInvalid, UnavailableError
from security.manifest import canonical_json
from security.signing import sign_bytes
from tests.unit.security.audit_station import NOON, AuditStation, audit_station


@pytest.fixture
def station(database_url: str, tmp_path: Path) -> Iterator[AuditStation]:
    with audit_station(database_url, tmp_path / "home") as opened:
        opened.write(3)
        yield opened


def version_1_line(station: AuditStation, entry_hash: str, seq: int) -> bytes:
    """As Gridward wrote heads before they named a tree."""
    fields = {
        "seq": seq,
        "entry_hash": entry_hash,
        "at": "2014-03-01T12:00:00.000000+00:00",
        "key_id": station.signer.key_id,
    }
    message = canonical_json({"type": "gridward-audit-head-v1", **fields})
    return canonical_json({**fields, "signature": sign_bytes(message, station.signer).hex()}) + b"\n"


def test_a_head_names_the_tree_and_the_last_entry(station: AuditStation) -> None:
    head = station.sign()

    line = json.loads(station.heads.read_text())
    assert (line["tree_size"], line["root_hash"]) == (3, station.verify().root_hash)
    assert line["entry_hash"] == head.entry_hash
    assert station.read_heads() == [head]
    assert newest_head(station.heads, station.trusted) == head


def test_heads_of_version_1_go_on_being_verified_beside_newer_ones(station: AuditStation) -> None:
    entry_hash = station.sign().entry_hash
    station.heads.write_bytes(version_1_line(station, entry_hash, 3))
    with station.transaction() as session:
        assert head_signed(session, station.heads)
    station.write(1, first=4)
    station.sign()

    assert [(head.seq, bool(head.root_hash)) for head in station.read_heads()] == [(3, False), (4, True)]
    assert station.verify().heads == 2

    station.heads.write_bytes(version_1_line(station, "ab" * 32, 3))
    with pytest.raises(AuditLogBroken, match="not the one signed"):
        station.verify()


def test_a_head_whose_root_is_another_tree_s_is_not_the_log_s(station: AuditStation) -> None:
    head = station.sign()
    forged = SignedHead(head.seq, head.entry_hash, head.at, head.key_id, "ab" * 32)
    with station.transaction() as session, pytest.raises(AuditLogBroken, match="not the one signed"):
        verify_log(session, [forged])


@pytest.mark.parametrize(
    "change", [{"root_hash": "ab" * 32}, {"tree_size": 2}, {"seq": 3}, {"root_hash": ""}, {"note": "x"}]
)
def test_a_line_with_anything_altered_or_added_is_refused(station: AuditStation, change: dict[str, object]) -> None:
    station.sign()
    station.heads.write_text(json.dumps({**json.loads(station.heads.read_text()), **change}) + "\n")

    with pytest.raises(SignatureInvalid, match="line 1"):
        station.read_heads()


def test_every_head_goes_to_the_witness_too_and_one_that_was_away_catches_up(station: AuditStation) -> None:
    station.sign()
    with pytest.raises(UnavailableError, match="mount"):
        station.sign(NOON + timedelta(hours=1), station.witness)
    assert not station.witness.parent.exists()
    station.witness.parent.mkdir()
    for hour in (2, 3):
        station.sign(NOON + timedelta(hours=hour), station.witness)

    assert len(station.read_heads()) == 4
    assert station.witness.read_bytes() == station.heads.read_bytes()


def test_the_witness_that_contradicts_is_not_brought_in_line(station: AuditStation) -> None:
    station.witness.parent.mkdir()
    for hour in (1, 2, 3):
        station.sign(NOON + timedelta(hours=hour), station.witness)
    kept = station.witness.read_bytes().splitlines()
    station.heads.write_bytes(kept[0] + b"\n")

    station.sign(NOON + timedelta(hours=4), station.witness)

    assert station.witness.read_bytes().splitlines()[:3] == kept
    with pytest.raises(AuditLogBroken, match="contradict"):
        require_same_heads(station.read_heads(), read_heads(station.witness, station.trusted))


def test_a_head_in_one_file_and_not_in_the_other_is_told(station: AuditStation) -> None:
    heads = [station.sign(NOON + timedelta(hours=hour)) for hour in (1, 2)]

    require_same_heads(heads, heads)
    with pytest.raises(AuditLogBroken, match=r"13:00.* stands in the witness's file and not in the station's"):
        require_same_heads([], heads)
    with pytest.raises(AuditLogBroken, match=r"14:00.* stands in the station's file and not in the witness's"):
        require_same_heads(heads, heads[:1])


def test_a_file_without_a_line_has_no_newest_head(station: AuditStation) -> None:
    assert newest_head(station.heads, station.trusted) is None
    station.sign()
    with pytest.raises(SignatureInvalid, match="last line"):
        newest_head(station.heads, {})


def test_only_the_end_of_a_long_file_is_read_for_the_newest_head(station: AuditStation) -> None:
    first = station.sign()
    station.heads.write_bytes((head_line(first) + b"\n") * 200)
    assert newest_head(station.heads, station.trusted) == first


def test_half_a_line_that_a_full_disk_left_does_not_spoil_the_next_head(station: AuditStation) -> None:
    first = station.sign()
    with station.heads.open("ab") as stream:
        stream.write(b'{"at":"20')
    station.write(1, first=4)

    second = station.sign()

    assert station.read_heads() == [first, second]
