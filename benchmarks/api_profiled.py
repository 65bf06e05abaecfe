"""`gridward` under a profiler that a signal switches on: `python -m benchmarks.api_profiled FILE serve --port 0`.

SIGUSR1 starts cProfile in the main thread, where the event loop runs, SIGUSR2 stops it and writes FILE. So starting up is
left out, and what other threads do as well.
"""

from __future__ import annotations

import cProfile
import signal
import sys

from api.cli import main as gridward


def main() -> None:
    saved = sys.argv.pop(1)
    profile = cProfile.Profile()

    def stop(*_: object) -> None:
        profile.disable()
        profile.dump_stats(saved)

    signal.signal(signal.SIGUSR1, lambda *_: profile.enable())
    signal.signal(signal.SIGUSR2, stop)
    gridward()


if __name__ == "__main__":
    main()
