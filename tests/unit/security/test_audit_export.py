from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from security.audit_check import VerifiedLog
from security.audit_export import export_log, verify_export
from security.errors import AuditLogBroken, IntegrityError, KeyringError, SignatureInvalid, UnavailableError
from security.operators import create_operator_key
from security.signing import new_signer
from tests.unit.security.audit_station import NOON, AuditStation, audit_station

Lines = list[dict[str, dict[str, object]]]


@pytest.fixture
def station(tmp_path: Path) -> Iterator[AuditStation]:
    with audit_station("", tmp_path / "home") as opened:
        for first, many in ((1, 5), (6, 8), (14, 1)):
            opened.write(many, first)
            opened.sign(NOON + timedelta(hours=first))
        yield opened


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def key_of(station: AuditStation) -> list[str]:
    return [station.signer.public_key.public_bytes_raw().hex()]


@pytest.mark.parametrize("after", [0, 1, 4, 5, 6, 13])
def test_what_is_exported_is_verified_with_the_public_key_alone(station: AuditStation, out: Path, after: int) -> None:
    exported = export_log(station.transaction, station.read_heads(), out, after)

    assert exported.entries == 14 - after
    assert exported.root_hash == station.verify().root_hash
    read = verify_export(out, key_of(station))
    assert read == VerifiedLog(exported.entries, exported.heads, 0, exported.root_hash)
    assert [path.name for path in out.parent.glob("*log.jsonl*")] == ["log.jsonl"]


def test_an_export_ends_with_the_newest_signed_entry(station: AuditStation, out: Path) -> None:
    station.write(3, first=15)

    assert export_log(station.transaction, station.read_heads(), out).entries == 14


def test_no_file_is_overwritten_and_nothing_is_left_of_what_failed(station: AuditStation, out: Path) -> None:
    out.write_text("mine")
    with pytest.raises(UnavailableError, match="already"):
        export_log(station.transaction, station.read_heads(), out)
    assert out.read_text() == "mine"
    out.unlink()

    station.behind_the_triggers("UPDATE audit_entry SET actor = 'mallory' WHERE seq = 9")
    with pytest.raises(AuditLogBroken) as broken:
        export_log(station.transaction, station.read_heads(), out)
    assert broken.value.seq == 9
    assert list(out.parent.glob("*log.jsonl*")) == []


def test_without_a_signed_entry_there_is_nothing_to_export(station: AuditStation, out: Path) -> None:
    for heads, after in (([], 0), (station.read_heads(), 14)):
        with pytest.raises(UnavailableError, match="nothing to export"):
            export_log(station.transaction, heads, out, after)


def entry(lines: Lines, seq: int) -> int:
    return next(place for place, line in enumerate(lines) if line.get("entry", {}).get("seq") == seq)


def altered(lines: Lines) -> None:
    lines[entry(lines, 9)]["entry"]["actor"] = "mallory"


def removed(lines: Lines) -> None:
    del lines[entry(lines, 9)]


def cut_off(lines: Lines) -> None:
    del lines[entry(lines, 14)]


def cut_off_with_its_head(lines: Lines) -> None:
    del lines[entry(lines, 14)], lines[3]
    lines[0] |= {"heads": 2}  # type: ignore[dict-item]  # the header holds numbers


def cut_off_between_heads(lines: Lines) -> None:
    cut_off_with_its_head(lines)
    del lines[entry(lines, 13)]
    del lines[2]
    lines[0] |= {"heads": 1, "entries": 12}  # type: ignore[dict-item]  # as above


def another_beginning(lines: Lines) -> None:
    lines[0] |= {"previous_hash": "ab" * 32}  # type: ignore[dict-item]  # as above


@pytest.mark.parametrize(
    "tamper", [altered, removed, cut_off, cut_off_with_its_head, cut_off_between_heads, another_beginning]
)
def test_an_export_that_was_tampered_with_is_found(
    station: AuditStation, out: Path, tamper: Callable[[Lines], None]
) -> None:
    export_log(station.transaction, station.read_heads(), out)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    tamper(lines)
    out.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    with pytest.raises(AuditLogBroken):
        verify_export(out, key_of(station))


def test_peaks_of_another_log_do_not_pass_for_what_came_before(station: AuditStation, out: Path) -> None:
    export_log(station.transaction, station.read_heads(), out, after=6)
    text = out.read_text()
    peak = json.loads(text.splitlines()[0])["peaks"][0]
    out.write_text(text.replace(peak, "ab" * 32))

    with pytest.raises(AuditLogBroken, match="not the one signed"):
        verify_export(out, key_of(station))


def test_only_the_auditors_key_is_believed(station: AuditStation, out: Path, tmp_path: Path) -> None:
    export_log(station.transaction, station.read_heads(), out)

    with pytest.raises(SignatureInvalid):
        verify_export(out, [new_signer().public_key.public_bytes_raw().hex()])
    with pytest.raises(KeyringError):
        verify_export(out, ["no key"])
    pem = create_operator_key(tmp_path / "other.pem", SecretStr("a passphrase of the test"))
    assert verify_export(out, [pem, *key_of(station)]).entries == 14


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]\n",
        "not json\n",
        '{"type":"another"}\n',
        '{"type":"gridward-audit-export-v1","after":0,"previous_hash":"","peaks":["ab"],"entries":0,"heads":0}\n',
        '{"type":"gridward-audit-export-v1","after":-1,"previous_hash":"","peaks":[],"entries":0,"heads":0}\n',
        '{"type":"gridward-audit-export-v1","after":0,"previous_hash":"","peaks":[],"entries":1,"heads":1}\n[]\n',
        '{"type":"gridward-audit-export-v1","after":0,"previous_hash":"","peaks":[],"entries":1,"heads":0}\n[]\n',
        '{"type":"gridward-audit-export-v1","after":0,"previous_hash":"","peaks":[],"entries":1,"heads":0}\n'
        '{"entry":{"seq":1}}\n',
    ],
)
def test_another_file_is_no_export(station: AuditStation, out: Path, content: str) -> None:
    out.write_text(content)

    with pytest.raises(IntegrityError, match="not an export"):
        verify_export(out, key_of(station))
