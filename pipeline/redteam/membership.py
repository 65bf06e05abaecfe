"""Was this week in the training data? Membership inference against a forecaster (AML.T0024.000).

The attacker has the week's demand, asks for forecasts of its days, and trains shadow models of its own with and without each
week: what is measured of an answer (its error, its width) is held against what both kinds of shadow models show. Or it asks
about other days altogether, and looks for the trace that the week left there: of each week by itself, or of all weeks at
once. That is far stronger: what hides one week's trace are, for the most part, the other weeks' traces. Sources: Carlini et
al. 2022, "Membership inference attacks from first principles" (the online attack, with a Gaussian for each record); Hoerl &
Kennard 1970, "Ridge regression: biased estimation for nonorthogonal problems" (all records at once).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.schema import Array, Flags

BOOTSTRAPS = 2000
FLOOR = 1e-9
# Strengths of the ridge that `joint_scores` chooses from, as shares of a mode's mean strength.
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(frozen=True)
class Advantage:
    """TPR − FPR at the threshold that was best on other models; low, high: its 95 % interval, over models."""

    value: float
    low: float
    high: float


def likelihood_scores(measured: Array, member: Flags, target: int) -> Array:
    """How much more likely each record of the target model was seen than not, by the other models; shape (records,).

    measured: of each model and record, shape (models, records); member: whether that model saw it.
    """
    others = np.arange(len(measured)) != target
    seen, unseen = (_moments(measured[others], member[others] == kind) for kind in (True, False))
    return _log_density(measured[target], *seen) - _log_density(measured[target], *unseen)


def trace_scores(answers: Array, member: Flags, target: int) -> Array:
    """How far the target model's answers lie towards those of the models that saw each record; shape (records,).

    answers: of each model to questions about other days, shape (models, questions).
    """
    others = np.arange(len(answers)) != target
    saw, told = member[others].astype(np.float64), answers[others]
    with_it = saw.T @ told / saw.sum(axis=0)[:, None]
    without_it = (1 - saw).T @ told / (1 - saw).sum(axis=0)[:, None]
    towards = with_it - without_it
    along = ((answers[target] - (with_it + without_it) / 2) * towards).sum(axis=1)
    scores: Array = along / np.maximum((towards**2).sum(axis=1), FLOOR)
    return scores


def joint_scores(answers: Array, member: Flags) -> Array:
    """How much each model's answers speak for each record, all records told at once; shape (models, records).

    answers: of each model to questions about other days, shape (models, questions). Each model is told from the others
    alone, in closed form; the ridge is the one under which they tell each other best.
    """
    away = answers - answers.mean(axis=0)
    strength, modes = np.linalg.eigh(away @ away.T)
    # Rounding leaves some a little below nothing.
    strength = np.maximum(strength, 0.0)
    usual = max(float(strength.mean()), FLOOR)
    sought = member.astype(np.float64) - 0.5
    fits: list[Array] = [(modes * (strength / (strength + ridge * usual))) @ modes.T for ridge in RIDGES]
    told = [_left_out(fit, sought) for fit in fits]
    return min(told, key=lambda scores: float(((scores - sought) ** 2).sum()))


def advantage(scores: Array, member: Flags, seed: int) -> Advantage:
    """The attack on every model in turn: thresholds from half of the models, TPR − FPR on the other half.

    scores: of each model and record, shape (models, records). The interval is a bootstrap over whole models, since the
    records of one model go together.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(scores))
    half = len(order) // 2
    gained = np.empty(len(scores))
    for learn, test in ((order[:half], order[half:]), (order[half:], order[:half])):
        threshold = best_threshold(scores[learn], member[learn])
        for model in test:
            said = scores[model] > threshold
            gained[model] = said[member[model]].mean() - said[~member[model]].mean()
    drawn = gained[random.integers(len(gained), size=(BOOTSTRAPS, len(gained)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Advantage(float(gained.mean()), float(low), float(high))


def best_threshold(scores: Array, member: Flags) -> float:
    """The threshold with the largest TPR − FPR."""
    candidates = np.unique(np.quantile(scores, np.linspace(0.02, 0.98, 97)))
    gains = [float((scores[member] > one).mean() - (scores[~member] > one).mean()) for one in candidates]
    return float(candidates[int(np.argmax(gains))])


def _left_out(fit: Array, sought: Array) -> Array:
    """What a linear fit says of each row when it was made without that row. fit: shape (rows, rows)."""
    own = np.diag(fit)[:, None]
    said: Array = (fit @ sought - own * sought) / (1 - own)
    return said


def _moments(measured: Array, chosen: Flags) -> tuple[Array, Array]:
    """Mean and spread of the chosen models' values of each record; the spread is shared by all records, for stability."""
    count = np.maximum(chosen.sum(axis=0), 1)
    mean = np.where(chosen, measured, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(chosen, (measured - mean) ** 2, 0.0).sum(axis=0) / count).mean())
    return mean, np.full(len(mean), max(float(spread), FLOOR))


def _log_density(values: Array, mean: Array, spread: Array) -> Array:
    density: Array = -0.5 * ((values - mean) / spread) ** 2 - np.log(spread)
    return density
