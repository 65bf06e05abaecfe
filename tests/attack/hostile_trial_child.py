"""A trial server whose worker does what a bundle asks of it: as if a parser had let a file run code of the attacker's.

It is run in the place of `pipeline.trial_child`, by the tests of attacks on trials. Everything but the work is the real one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightgbm as lgb

from pipeline.trial_child import serve, tried

HOSTILE = "hostile.json"
A_MEBIBYTE = 2**20


def eat(mebibytes: int) -> None:
    """Take memory, and touch it."""
    kept = [b"\xff" * A_MEBIBYTE for _ in range(mebibytes)]
    assert len(kept) == mebibytes


def loop() -> None:
    """Never end, and use the processor."""
    while True:
        pass


def sleep() -> None:
    """Never end, and use nothing."""
    while True:
        time.sleep(60)


def write(path: str) -> None:
    """Write a file."""
    Path(path).write_bytes(b"x" * 4096)


def parse(path: str) -> None:
    """Give LightGBM a text that nobody looked at."""
    lgb.Booster(model_str=Path(path).read_text())


def answer(content: str) -> None:
    """Write this on every pipe there is, and end as if all were well."""
    for file in range(64):
        with contextlib.suppress(OSError):
            os.write(file, content.encode())
    os._exit(0)


def babble() -> None:
    """Answer without end."""
    while True:
        for file in range(3, 64):
            with contextlib.suppress(OSError):
                os.write(file, b"x" * 65536)


def kill_the_server() -> None:
    """End the process that forked this one."""
    os.kill(os.getppid(), signal.SIGKILL)
    sleep()


def looked_around() -> dict[str, Any]:
    """What a worker can see: what it has open, and the names and values in its environment."""
    seen = []
    for place in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            seen.append(str(place.readlink()).partition(":")[0])
    return {"refused": json.dumps({"open": seen, "environment": dict(os.environ)})[:500], "part": "golden.json"}


ACTS: dict[str, Callable[..., Any]] = {
    act.__name__: act for act in (eat, loop, sleep, write, parse, answer, babble, kill_the_server, looked_around)
}


def work(files: Mapping[str, bytes]) -> dict[str, Any]:
    """The act that the bundle names, then the real trial of the rest of it."""
    if HOSTILE in files:
        order = json.loads(files[HOSTILE])
        said = ACTS[order["act"]](*order["with"])
        if said is not None:
            return dict(said)
    return tried({name: content for name, content in files.items() if name != HOSTILE})


if __name__ == "__main__":
    serve(work)
