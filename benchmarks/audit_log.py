"""python -m benchmarks.audit_log: what of a tampered log is found, how fast it is written, verified and proved.

Tampering is done to copies in memory of a log with signed heads, up to its last entry, and judged by the same code that
judges the database's rows. In each second try of a kind the intruder computes every later number and hash anew, and leaves
no stored tree behind. Appends go through `AuditWriter`, as the service's do, from many callers at once.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from benchmarks.private_stores import private_postgresql
from pipeline.database import at_once, make_engine, reading, transaction
from security.audit_check import StoredEntry, check_entries, entries_from, verify_whole_log
from security.audit_heads import SignedHead, read_heads, sign_head
from security.audit_log import GENESIS_HASH, append_many, leaf_data, written
from security.audit_proofs import prove_consistency, prove_inclusion
from security.audit_writer import Act, AuditWriter
from security.errors import AuditLogBroken
from security.signing import Signer, new_signer

BEGUN = datetime(2014, 3, 1, tzinfo=UTC)
CALLERS = 256
HEAD_EVERY = 250
APPENDS_BAR = 5000
CONTENT, HASHES = ("at", "actor", "action", "subject", "details"), ("previous_hash", "entry_hash")

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Found:
    """Of one kind of tampering: how often it was tried, and how often it was found."""

    kind: str
    tries: int
    found: int


@dataclass(frozen=True)
class Speed:
    """On one store. appends a second through the writer; verify_seconds: of that whole log; proofs in milliseconds."""

    store: str
    entries: int
    appends: float
    verify_seconds: float
    inclusion_ms: float
    consistency_ms: float


def act(number: int) -> Act:
    """What the service enters of a request, about as long."""
    details = {"status": 200, "milliseconds": number % 40, "request": f"{number:032x}", "model": "3f9e1ec0d2"}
    at = BEGUN + timedelta(seconds=number)
    return Act(f"analyst-{number % 50}", "request.answered", "POST /v1/forecasts", details, at)


@contextmanager
def store(kind: str, folder: Path) -> Iterator[Engine]:
    """An empty database."""
    if kind == "SQLite":
        engine = make_engine("", folder)
        yield engine
        engine.dispose()
        return
    with private_postgresql() as server:
        engine = make_engine(server.url, folder)
        yield engine
        engine.dispose()


def sign(engine: Engine, signer: Signer, path: Path, at: datetime) -> None:
    with transaction(engine) as session:
        sign_head(session, signer, path, at)


def log_of(size: int, folder: Path) -> tuple[Rows, list[SignedHead]]:
    """Rows as they are stored, and the heads signed on the way, the last at the end."""
    signer, path = new_signer(), folder / "heads.jsonl"
    with store("SQLite", folder) as engine:
        for first in range(0, size, HEAD_EVERY):
            with transaction(engine) as session:
                append_many(session, [written(act(number)) for number in range(first, min(size, first + HEAD_EVERY))])
            sign(engine, signer, path, BEGUN)
        rows = [{**entry.fields, "hashes": entry.hashes} for entry in entries_from(partial(transaction, engine))]
    return rows, read_heads(path, {signer.key_id: signer.public_key})


def deleted(rows: Rows, chance: random.Random) -> int:
    place = chance.randrange(len(rows))
    del rows[place]
    return place


def altered(rows: Rows, chance: random.Random, names: Sequence[str] = CONTENT) -> int:
    place, name = chance.randrange(len(rows)), chance.choice(names)
    text = rows[place][name]
    spot = chance.randrange(len(text))
    other = chance.choice([letter for letter in "0123456789abcdef" if letter != text[spot]])
    rows[place] |= {name: text[:spot] + other + text[spot + 1 :]}
    return place


def hash_altered(rows: Rows, chance: random.Random) -> int:
    return altered(rows, chance, HASHES)


def reordered(rows: Rows, chance: random.Random) -> int:
    first, second = sorted(chance.sample(range(len(rows)), 2))
    rows[first], rows[second] = rows[second], rows[first]
    return first


def inserted(rows: Rows, chance: random.Random) -> int:
    place = chance.randrange(len(rows))
    rows.insert(place, {**rows[place], "actor": "mallory"})
    return place


def truncated(rows: Rows, chance: random.Random) -> int:
    place = chance.randrange(len(rows))
    del rows[place:]
    return place


TAMPERS: dict[str, Callable[[Rows, random.Random], int]] = {
    "deleted": deleted,
    "altered": altered,
    "hash altered": hash_altered,
    "reordered": reordered,
    "inserted": inserted,
    "truncated": truncated,
}


def computed_anew(rows: Rows, place: int) -> None:
    """Every number and hash from `place` on, and no stored tree: the best that an intruder without the key can do."""
    previous = GENESIS_HASH if place == 0 else rows[place - 1]["entry_hash"]
    for number in range(place, len(rows)):
        row = {**rows[number], "seq": number + 1, "previous_hash": previous, "hashes": None}
        hashed = {name: value for name, value in row.items() if name != "hashes"}
        previous = row["entry_hash"] = hashlib.sha256(leaf_data(hashed)).hexdigest()
        rows[number] = row


def is_found(rows: Rows, heads: Sequence[SignedHead]) -> bool:
    entries = (StoredEntry({name: row[name] for name in row if name != "hashes"}, row["hashes"]) for row in rows)
    try:
        check_entries(entries, heads)
    except AuditLogBroken:
        return True
    return False


def tampering(tries: int, size: int, seed: int) -> list[Found]:
    """So many tries, of each kind as many, each on a fresh copy."""
    chance = random.Random(seed)  # noqa: S311 (places to tamper with, no secrets)
    with tempfile.TemporaryDirectory() as folder:
        rows, heads = log_of(size, Path(folder))
    if is_found(rows, heads):
        raise SystemExit("the log does not hold before anything was done to it")
    counts = {kind: [0, 0] for kind in TAMPERS}
    for number in range(tries):
        kind = list(TAMPERS)[number % len(TAMPERS)]
        copy = list(rows)
        place = TAMPERS[kind](copy, chance)
        # Where hashes alone were altered, computing them anew would make good what was done.
        if number // len(TAMPERS) % 2 and kind != "hash altered":
            computed_anew(copy, place)
        counts[kind][0] += 1
        counts[kind][1] += is_found(copy, heads)
    return [Found(kind, tried, found) for kind, (tried, found) in counts.items()]


async def write_all(writer: AuditWriter, many: int) -> float:
    """Appends a second, CALLERS of them waiting at any moment."""
    numbers = iter(range(many))

    async def caller() -> None:
        for number in numbers:
            await writer.write(act(number))

    begun = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return many / (time.perf_counter() - begun)


def speed(kind: str, many: int, seed: int) -> Speed:
    chance, signer = random.Random(seed), new_signer()  # noqa: S311 (entries to prove, no secrets)
    with tempfile.TemporaryDirectory() as name, store(kind, Path(name)) as engine:
        path = Path(name) / "heads.jsonl"
        writer = AuditWriter(partial(transaction, engine), partial(sign, engine, signer, path), partial(at_once, engine))
        appends = asyncio.run(write_all(writer, many))
        writer.close()
        heads = read_heads(path, {signer.key_id: signer.public_key})
        begun = time.perf_counter()
        verified = verify_whole_log(partial(reading, engine), heads)
        took = time.perf_counter() - begun
        if verified.entries != many:
            raise SystemExit(f"{verified.entries} of {many} entries stand in the log")
        return Speed(
            kind,
            many,
            appends,
            took,
            _median_ms(engine, lambda session: prove_inclusion(session, chance.randint(1, many), many)),
            _median_ms(engine, lambda session: prove_consistency(session, chance.randint(1, many), many)),
        )


def _median_ms(engine: Engine, prove: Callable[[Any], object]) -> float:
    spent = []
    for _ in range(200):
        begun = time.perf_counter()
        with transaction(engine) as session:
            prove(session)
        spent.append((time.perf_counter() - begun) * 1000)
    return statistics.median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--size", type=int, default=3000, help="entries of the log that is tampered with")
    parser.add_argument("--appends", type=int, default=50_000)
    parser.add_argument("--stores", nargs="*", default=["SQLite", "PostgreSQL"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    kinds = tampering(options.tries, options.size, options.seed)
    speeds = [speed(kind, options.appends, options.seed) for kind in options.stores]
    if options.json:
        print(json.dumps({"tampering": [asdict(one) for one in kinds], "stores": [asdict(one) for one in speeds]}, indent=1))
        return
    for one in kinds:
        print(f"{one.kind:12} {one.found} of {one.tries} found: {'met' if one.found == one.tries else 'missed'}")
    for fast in speeds:
        met = "met" if fast.appends >= APPENDS_BAR else "missed"
        print(f"{fast.store}: {fast.appends:,.0f} appends a second (bar {APPENDS_BAR:,}): {met}")
        print(f"  {fast.entries:,} entries verified in {fast.verify_seconds:.1f} s")
        print(f"  proofs, median: inclusion {fast.inclusion_ms:.2f} ms, consistency {fast.consistency_ms:.2f} ms")


if __name__ == "__main__":
    main()
