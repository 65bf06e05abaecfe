"""What releases cost, and `kill -9` in the middle of them: `python -m benchmarks.releases [--kills 100] [--json]`.

Costs are medians over twenty repositories, every write on the disk. Then a process promotes, rotates and renews without
end and is killed at a random moment; each time, a client that was there before has to believe a state that is not older
than what was acknowledged, and the next process has to go on from it. One minute.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median

from security.release_client import Releases, trusted_releases
from security.release_repository import found, propose, publish, renew
from security.release_rotation import propose_root, publish_root
from security.releases import NO_MINIMUM, Versions
from security.signing import Signer, new_signer

MODELS = ("a" * 64, "b" * 64)
ROUNDS = 20
LONGEST_S = 0.5


@dataclass(frozen=True)
class Place:
    """A repository, its client, and everybody's keys, in memory."""

    home: Path
    operators: dict[str, Signer]
    online: Signer
    bootstrap: bytes

    @classmethod
    def at(cls, home: Path) -> Place:
        operators, online = {name: new_signer() for name in ("ann", "bob", "cy")}, new_signer()
        keys = {name: signer.public_key for name, signer in operators.items()}
        first_two = [operators["ann"], operators["bob"]]
        return cls(home, operators, online, found(home / "registry", keys, first_two, online, datetime.now(UTC)))

    @property
    def registry(self) -> Path:
        return self.home / "registry"

    @property
    def acknowledged(self) -> Path:
        return self.home / "acknowledged"

    def propose(self, name: str, model: str) -> None:
        propose(self.registry, {"main": model}, self.operators[name], datetime.now(UTC), replace=name == "ann")

    def publish(self) -> Versions:
        return publish(self.registry, self.online, datetime.now(UTC))

    def rotate(self) -> Versions:
        """The same operators for another year: every step of a rotation."""
        for name in ("ann", "bob"):
            propose_root(self.registry, self.operators[name], datetime.now(UTC), replace=name == "ann")
        return publish_root(self.registry, self.online, datetime.now(UTC))

    def renew(self) -> Versions:
        return renew(self.registry, self.online, datetime.now(UTC))

    def refresh(self, minimum: Versions = NO_MINIMUM) -> Releases:
        return trusted_releases(self.registry, self.home / "client", self.bootstrap, minimum)


def costs() -> dict[str, float]:
    """Median milliseconds of each verb."""
    spent: dict[str, list[float]] = {}

    def timed(name: str, act: Callable[[], object]) -> None:
        begun = time.perf_counter()
        act()
        spent.setdefault(name, []).append((time.perf_counter() - begun) * 1000)

    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            place = Place.at(Path(folder))
            spent.setdefault("found", []).append((time.perf_counter() - begun) * 1000)
            for name in ("ann", "bob"):
                timed("propose", lambda name=name, place=place: place.propose(name, MODELS[0]))  # type: ignore[misc]
            timed("publish", place.publish)
            timed("refresh, new client", place.refresh)
            timed("refresh, nothing new", place.refresh)
            timed("renew, not due", place.renew)
            timed("rotate, two signatures and all", place.rotate)
            timed("refresh, new root", place.refresh)
    return {name: round(median(values), 1) for name, values in spent.items()}


def work(place: Place) -> None:
    """Promote the two models in turn, rotate every third time, and write down each version that was answered for."""
    for number in count():
        for name in ("ann", "bob"):
            place.propose(name, MODELS[number % 2])
        versions = place.rotate() if number % 3 == 2 else place.publish()
        place.acknowledged.write_text(str(versions.targets))


@dataclass(frozen=True)
class Kills:
    """kills: that met a running process; refused: times a client believed nothing; lost: acknowledged versions not there."""

    kills: int
    refused: int
    lost: int


def killed(kills: int, chance: random.Random) -> Kills:
    """Kill the work so many times, at random moments, and look each time."""
    refused = lost = 0
    with tempfile.TemporaryDirectory() as folder:
        place = Place.at(Path(folder))
        pinned = place.refresh().versions
        for _ in range(kills):
            _kill_after(lambda place=place: work(place), chance.uniform(0, LONGEST_S))  # type: ignore[misc]
            try:
                pinned = place.refresh(pinned).versions
            except Exception:
                traceback.print_exc()
                refused += 1
            text = place.acknowledged.read_text() if place.acknowledged.exists() else ""
            lost += int(text or 0) > pinned.targets
    return Kills(kills, refused, lost)


def _kill_after(work: Callable[[], None], seconds: float) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    if os.WIFEXITED(os.waitpid(pid, 0)[1]):
        raise SystemExit("the work failed before it was killed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    spent = costs()
    found_out = killed(options.kills, random.Random(options.seed))  # noqa: S311 (moments to be killed at, no secrets)
    if options.json:
        print(json.dumps({"milliseconds": spent, **asdict(found_out)}, indent=1))
        return
    for name, milliseconds in spent.items():
        print(f"{name:32} {milliseconds:6.1f} ms")
    met = "met" if not (found_out.refused or found_out.lost) else "missed"
    print(f"{found_out.kills} kills: {found_out.refused} refused, {found_out.lost} acknowledged versions lost: {met}")


if __name__ == "__main__":
    main()
