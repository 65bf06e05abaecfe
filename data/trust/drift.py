"""Does a source lie, since when and by how much: a generalised likelihood ratio over every onset of the last months.

For each source and kind of lie the daily sizes run through a Kalman filter of the honest noise (`honesty`). A lie that began
on day τ, of constant size or growing in a straight line, would leave a known trace in the filter's innovations; matching the
innovations with the trace of every τ gives, for each, the evidence Λ(τ) = (Σ g e/S)² / (2 Σ g²/S) in nats and the size
Σ g e/S / Σ g²/S. The largest Λ is the evidence, its τ the onset (Willsky & Jones, IEEE TAC 21, 1976).

Two things differ from the textbook. The honest noise holds a slow wander, so that a small lasting difference explains
itself and only a size beyond honest wander accumulates evidence. And innovations are drawn in beyond 3.5 spreads, since
neighbours differ with heavy tails; in naming the liar among several they are left to 30.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from data.schema import Array, Flags, Integers
from data.trust.honesty import WANDER_DAYS, Noise

DRAWN_IN, DRAWN_IN_MOST = 3.5, 5.2
NAMING_LIMIT = 30.0
RAMP_UNIT_DAYS = 30.0
# The smallest accusable size grows by this share from an onset today to the oldest one.
WANDER_GROWTH = 0.6
SHAPES = ("step", "ramp")


@dataclass(frozen=True)
class StackedNoise:
    """The noise of many streams, each of shape (streams,): see `honesty.Noise`."""

    centre: Array
    memory: Array
    fast: Array
    white: Array
    usual_weight: Array
    wander: Array
    smallest: Array
    least_age: Array


def stacked(noises: Sequence[Noise]) -> StackedNoise:
    """One array for each property of the streams' noise."""
    return StackedNoise(*(np.array([getattr(noise, name.name) for noise in noises]) for name in fields(StackedNoise)))


@dataclass(frozen=True)
class Evidence:
    """After one day, for each stream: evidence [nats], its size now, its onset (day) and shape, and the lead in naming.

    window: number of the best one among shapes × onsets; plain: its evidence drawn in at 30 spreads only, 0 where nothing is
    accusable; lead: by how much that is ahead of the same lie, told by any other heard source in that window.
    """

    nats: Array
    size: Array
    onset: Integers
    shape: Integers
    window: Integers
    plain: Array
    lead: Array


class DriftSums:
    """The running filter and sums of all streams: streams = sources × kinds, in that order.

    heard: the sources among which a liar is looked for, all where it is not told; who is out already rivals nobody.
    """

    def __init__(self, noise: StackedNoise, sources: int, longest_days: int, heard: Sequence[int] | None = None) -> None:
        streams = len(noise.memory)
        self._unheard = [source for source in range(sources) if heard is not None and source not in heard]
        self._noise, self._sources, self._longest = noise, sources, longest_days
        self._usable = np.isfinite(noise.fast) & np.isfinite(noise.white)
        self._fast_memory = np.where(self._usable, noise.memory, 0.5)
        fast, wander = np.where(self._usable, noise.fast, 1.0), np.where(self._usable, noise.wander, 0.0)
        self._white = np.where(self._usable, noise.white * noise.usual_weight, 1.0)
        self._memory = np.stack([self._fast_memory, np.full(streams, np.exp(-1 / WANDER_DAYS))])
        self._renewal = np.stack([fast, wander]) * (1 - self._memory**2)
        self._state = np.zeros((2, streams))
        self._covariance = np.zeros((2, 2, streams))
        self._covariance[0, 0], self._covariance[1, 1] = fast, wander
        self._trace = np.zeros((2, 2, longest_days, streams))  # state, shape, onset, stream
        self._match = np.zeros((2, longest_days, streams))
        self._naming = np.zeros((2, longest_days, streams))
        self._power = np.zeros((2, longest_days, streams))
        self._age = np.full(longest_days, -1)

    def take(self, sizes: Array, weights: Array, unrest: Array, day: int, mark: Array, *, judging: bool) -> Evidence | None:
        """One day of every stream, each of shape (streams,); NaN sizes are days without a word.

        unrest: factor of the day's noise; mark: what a lie of size 1 adds to the day's size; judging: whether onsets from
        this day on are candidates. None until the first candidate is a day old.
        """
        self._state = self._memory * self._state
        self._covariance = self._covariance * self._memory[:, None] * self._memory[None, :]
        self._covariance[0, 0] += self._renewal[0]
        self._covariance[1, 1] += self._renewal[1]
        heard = self._usable & np.isfinite(sizes)
        cross = self._covariance.sum(axis=1)
        variance = np.maximum(cross.sum(axis=0) + self._white / np.maximum(weights, 1e-9), 1e-9)
        # All parts of the noise scale alike, so the day's unrest does not change the gain.
        spread = np.sqrt(variance * unrest)
        innovation = np.where(heard, sizes - self._noise.centre - self._state.sum(axis=0), 0.0)
        score = innovation / spread
        gain = np.where(heard, cross / variance, 0.0)
        self._state = self._state + gain * np.clip(score, -DRAWN_IN, DRAWN_IN) * spread
        self._covariance = self._covariance - gain[:, None] * cross[None, :]
        return self._match_onsets(score, spread, gain, heard, mark, day, judging=judging)

    def _match_onsets(
        self, score: Array, spread: Array, gain: Array, heard: Flags, mark: Array, day: int, *, judging: bool
    ) -> Evidence | None:
        self._trace *= self._memory[:, None, None, :]
        if judging:
            place = day % self._longest
            self._trace[:, :, place] = 0.0
            self._match[:, place] = self._naming[:, place] = self._power[:, place] = 0.0
            self._age[place] = 0
        live = self._age >= 0
        if not live.any():
            return None
        lie = np.stack([np.ones(self._longest), (self._age + 1) / RAMP_UNIT_DAYS])
        trace = lie[:, :, None] * mark - self._trace.sum(axis=0)
        trace = np.where(heard & live[:, None], trace, 0.0)
        scaled = trace / spread
        self._match += scaled * _drawn_in(score)
        self._naming += scaled * np.clip(score, -NAMING_LIMIT, NAMING_LIMIT)
        self._power += scaled**2
        self._trace += gain[:, None, None, :] * trace
        evidence = self._evidence(day)
        self._age[live] += 1
        return evidence

    def naming(self) -> Array:
        """Evidence with innovations drawn in at 30 spreads only, for every window and stream: (shapes × onsets, streams)."""
        return np.asarray((self._naming**2 / (2 * np.maximum(self._power, 1e-12))).reshape(2 * self._longest, -1))

    def _evidence(self, day: int) -> Evidence:
        power = np.maximum(self._power, 1e-12)
        size = self._match / power
        size[1] *= ((self._age + 1) / RAMP_UNIT_DAYS)[:, None]
        # The longer ago it began, the more an honest source may have wandered.
        smallest = self._noise.smallest * (1 + WANDER_GROWTH * self._age / self._longest)[:, None]
        accusable = (np.abs(size) >= smallest) & (self._age[:, None] >= self._noise.least_age)
        nats = np.where(accusable, self._match**2 / (2 * power), 0.0).reshape(2 * self._longest, -1)
        naming = self.naming()
        streams = np.arange(nats.shape[1])
        best = nats.argmax(axis=0)
        kinds = nats.shape[1] // self._sources
        # Evidence of every source for the same kind of lie in the window that is best for each stream.
        kind = np.arange(kinds)
        rivals = naming.reshape(-1, self._sources, kinds)[best.reshape(self._sources, kinds), :, kind]
        own = naming[best, streams].reshape(self._sources, kinds)
        rivals[np.arange(self._sources), :, np.arange(self._sources)] = 0.0
        rivals[:, :, self._unheard] = 0.0
        return Evidence(
            nats=nats[best, streams],
            size=size.reshape(2 * self._longest, -1)[best, streams],
            onset=day - self._age[best % self._longest],
            shape=best // self._longest,
            window=best,
            plain=np.where(nats[best, streams] > 0, naming[best, streams], 0.0),
            lead=(own - rivals.max(axis=2)).reshape(-1),
        )


def _drawn_in(score: Array) -> Array:
    """Scores beyond 3.5 count as 3.5; from twice that on, where weather no longer explains them, up to 5.2."""
    size = np.abs(score)
    beyond = np.minimum(DRAWN_IN + 0.75 * (size - 2 * DRAWN_IN), DRAWN_IN_MOST)
    drawn = np.where(size < DRAWN_IN, size, np.where(size < 2 * DRAWN_IN, DRAWN_IN, beyond))
    return np.asarray(np.sign(score) * drawn)
