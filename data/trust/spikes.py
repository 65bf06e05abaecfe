"""Level 2 by the day: more spikes than this source ever had. Poisson CUSUM (Lucas, Technometrics 27, 1985)."""

from __future__ import annotations

import numpy as np

from data.schema import Array

MORE_A_DAY = 0.12


class SpikeCount:
    """Counts spikes of each source against its usual rate [a day]; the sum is evidence in nats."""

    def __init__(self, usual_a_day: Array) -> None:
        self._usual = usual_a_day
        self._gain = np.log((usual_a_day + MORE_A_DAY) / usual_a_day)
        self._sum = np.zeros(len(usual_a_day))
        self._since = np.zeros(len(usual_a_day), dtype=np.int64)
        self._count = np.zeros(len(usual_a_day), dtype=np.int64)

    def forget(self, source: int) -> None:
        """Begin anew with one source."""
        self._sum[source], self._count[source] = 0.0, 0

    def take(self, spikes: Array, day: int, accuse_at: float) -> list[tuple[int, int, int]]:
        """One day's spikes, shape (sources,); answers (source, day since when, spikes) of those beyond `accuse_at`."""
        self._sum = np.maximum(self._sum + spikes * self._gain - MORE_A_DAY, 0.0)
        rested = self._sum == 0
        self._since = np.where(rested, day + 1, self._since)
        self._count = np.where(rested, 0, self._count + spikes.astype(np.int64))
        found = np.flatnonzero((self._sum >= accuse_at) & (self._count >= 3))
        return [(int(source), int(self._since[source]), int(self._count[source])) for source in found]
