"""What a large bundle costs to load, and what swaps and accidents do to who serves: `python -m benchmarks.artifacts`.

The bundle: trees by quantile, nine times 600, on fourteen months. Loaded in several copies that differ in a fact of their
manifest, so that nothing is remembered of the last one. Accidents: the last good model has to go on answering, each time
the same. Exit 6 where a bar is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks.artifact_accidents import accidents, killed
from benchmarks.artifact_station import BY, DAY, Row, build, copy_of, release
from benchmarks.kills import in_a_process
from pipeline import registry
from pipeline.bundle import restore
from pipeline.database import transaction
from pipeline.publish import OpenedModel, open_model, read_model
from pipeline.serving import Serving
from pipeline.station import Station
from pipeline.trial import stop_trials, try_bundle
from security.manifest import MANIFEST_NAME

COPIES = 6


def loading(station: Station, model: OpenedModel) -> list[Row]:
    """The parts of a load, each over copies that this process never saw."""
    # Made in another process: publishing tries a bundle, and this one shall find them as a server would.
    listed = station.home.parent / "copies"
    in_a_process(lambda: listed.write_text("\n".join(copy_of(station, model, number) for number in range(COPIES))) * 0)
    ids = listed.read_text().split()
    parts: dict[str, list[float]] = {name: [] for name in ("read", "hash", "trial", "parse", "whole")}
    size = 0
    for model_id in ids:
        began = time.perf_counter()
        bundle = read_model(station, model_id)
        parts["read"].append(time.perf_counter() - began)
        contents = [*bundle.files.values(), (station.models / model_id / f"{MANIFEST_NAME}.sealed").read_bytes()]
        size = sum(map(len, contents))
        began = time.perf_counter()
        for content in contents:
            hashlib.sha256(content).digest()
        parts["hash"].append(time.perf_counter() - began)
        began = time.perf_counter()
        try_bundle(bundle.files)
        parts["trial"].append(time.perf_counter() - began)
        began = time.perf_counter()
        restore(bundle.files)
        parts["parse"].append(time.perf_counter() - began)
    serving = Serving(station)
    for model_id in ids:
        release(station, model_id)
        began = time.perf_counter()
        serving.reload(by=BY)
        parts["whole"].append(time.perf_counter() - began)
    found = {name: statistics.median(seconds) for name, seconds in parts.items()}
    share, ratio = found["read"] / found["whole"], found["read"] / found["hash"]
    told = ", ".join(f"{name} {found[name]:.3f}" for name in ("read", "trial", "parse"))
    return [
        Row(
            f"verify, open, validate, load, swap ({size / 2**20:.1f} MiB; {told} s)",
            "≤ 2.5 s",
            f"{found['whole']:.2f} s",
            found["whole"] <= 2.5,
        ),
        Row("verification and decryption, share of it", "≤ 15 %", f"{share:.1%}", share <= 0.15),
        Row("verification and decryption over plain SHA-256", "≤ 2", f"{ratio:.2f}", ratio <= 2),
    ]


def swapping(station: Station, model: OpenedModel, swaps: int) -> Row:
    """Two models take turns under load; every request has to be answered, by one of the two."""
    pair = [model.model_id, copy_of(station, model, 1000)]
    serving = Serving(station)
    asked = {"failed": 0, "answered": 0}
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                asked["answered"] += serving.prepare(DAY, by=BY).forecast.model_id in pair
            except Exception:  # a failure of any kind is what is counted
                asked["failed"] += 1

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(swaps):
        release(station, pair[(number + 1) % 2])
        serving.reload(by=BY)
    stop.set()
    for thread in threads:
        thread.join()
    found = f"{asked['failed']} of {asked['failed'] + asked['answered']}"
    return Row(
        f"requests failed during {swaps} swaps under load", "0", found, not asked["failed"] and asked["answered"] > swaps
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        template = folder / "template"
        rows = apart(folder, partial(of_a_large_bundle, folder, options.swaps))
        apart(folder, partial(_built, template))
        rows += [*apart(folder, partial(accidents, template, folder)), killed(template, folder, options.kills, options.seed)]
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        for row in rows:
            print(f"{row.bar:110s} {row.asked:28s} {row.found:14s} {'met' if row.met else 'MISSED'}")
    sys.exit(0 if all(row.met for row in rows) else 6)


def apart(folder: Path, work: Callable[[], list[Row]]) -> list[Row]:
    """Do it in a process of its own: the lake's reader cannot be used on both sides of a fork, and later ones are forked."""
    told = folder / "rows.json"

    def write() -> None:
        told.write_text(json.dumps([asdict(row) for row in work()]))

    if in_a_process(write)[0]:
        raise SystemExit("a part of the benchmark failed; see above")
    return [Row(**row) for row in json.loads(told.read_text())]


def of_a_large_bundle(folder: Path, swaps: int) -> list[Row]:
    """Load and swap the bundle of nine times 600 trees."""
    station = build(folder / "large", "quantile-trees")
    model = open_model(station, _active(station))
    rows = [*loading(station, model), swapping(station, model, swaps)]
    stop_trials()
    return rows


def _built(home: Path) -> list[Row]:
    build(home, "linear").engine.dispose()
    return []


def _active(station: Station) -> str:
    with transaction(station.engine) as session:
        return registry.active_id(session)


if __name__ == "__main__":
    main()
