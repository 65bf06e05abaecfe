"""Membership inference on Victoria: `python -m benchmarks.membership [--models N] [--weeks N] [--open-models N] [--mends]`.

Models are trained with and without weeks of the training period, half of them each. With the guard they are asked as
`POST /v1/forecasts` answers: for days after the training, and the attacker looks for what the weeks left in the forecast and
in its width, of each week alone and of all at once. Without it some are asked for days of these weeks themselves. The
attacker knows the demand, the code and everything else that was trained on, but no station's secret: each model draws its
disguise from one of its own. Bar: advantage (TPR − FPR) at most 0.05; met when the whole interval lies below.

`--mends` tries other disguises on the same answers and says what each costs the user: on 2013, which a choice would have to
rest on, and on 2014.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from scipy.stats import norm

from benchmarks.theft_oracle import ARCHIVE_BEGINS, BEGINS, MEMBERS, YEAR
from benchmarks.yardstick import realised, run_year
from data.datasets import EmbeddedDataset, load_victoria
from data.schema import DEMAND_MW, QUANTILES, Array, Flags, Utility, days_between
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from forecasting.forecaster import QUANTILE_COLUMNS
from forecasting.metrics import pinball_mw
from pipeline.disguise import disguised
from pipeline.redteam.membership import Advantage, advantage, joint_scores, likelihood_scores, trace_scores

BAR = 0.05
ASKED_WEEKDAYS = (1, 5)
# The house trains each month anew: so many days a model is asked for.
LATER = YEAR[:31]
LOW, MIDDLE, HIGH = 0, 4, 8
LEARNED_KINDS = ("error, plain", "error, disguised", "width, plain", "width, disguised")
# The deciles of a normal distribution around its median, q90 − q10 being one.
NORMAL = norm.ppf(QUANTILES) / (norm.ppf(0.9) - norm.ppf(0.1))
SLOTS = 48

Mend = Callable[[Array, np.random.Generator], Array]
Look = Callable[[Array], Array]


def forecast_of(answers: Array) -> Array:
    """The medians as logarithms; answers: shape (…, 9)."""
    return np.log(answers[..., MIDDLE])


def width_of(answers: Array) -> Array:
    """The widths q90 − q10 as logarithms; answers: shape (…, 9)."""
    return np.log(answers[..., HIGH] - answers[..., LOW])


def relative_width_of(answers: Array) -> Array:
    """The widths as shares of the medians, as logarithms; answers: shape (…, 9)."""
    return width_of(answers) - forecast_of(answers)


LOOKS: dict[str, Look] = {"forecast": forecast_of, "width": width_of, "width over forecast": relative_width_of}


def weeks_of(count: int, random: np.random.Generator) -> list[date]:
    """Mondays of the training period."""
    mondays = [day for day in days_between(ARCHIVE_BEGINS, BEGINS - timedelta(days=14)) if day.weekday() == 0]
    return sorted(mondays[int(row)] for row in random.permutation(len(mondays))[:count])


def without(frame: pd.DataFrame, utility: Utility, mondays: list[date]) -> pd.DataFrame:
    """The history without the demand of these weeks."""
    left = frame.copy()
    for monday in mondays:
        last = utility.day_index(monday + timedelta(days=6))[-1]
        left.loc[utility.day_index(monday)[0] : last, DEMAND_MW] = np.nan
    return left


@dataclass(frozen=True)
class Asked:
    """What models answered, and which weeks each saw: member, shape (models, weeks).

    learned: error and width of answers for days of the weeks themselves, by kind, shape (open models, weeks); plain, shown:
    the deciles of days after the training without and with the disguise [MW], shape (models, days, intervals, 9).
    """

    learned: dict[str, Array]
    plain: Array
    shown: Array
    member: Flags


def asked(models: int, open_models: int, weeks: int, seed: int) -> Asked:
    """Train `models` models and ask them, the first `open_models` also for what the guard refuses."""
    random = np.random.default_rng(seed)
    dataset = load_victoria()
    frame, utility = realised(dataset), dataset.utility
    mondays = weeks_of(weeks, random)
    member = np.stack([random.permutation(weeks) < weeks // 2 for _ in range(models)])
    learned: dict[str, Array] = {kind: np.empty((open_models, weeks)) for kind in LEARNED_KINDS if open_models}
    later = []
    gate = utility.gate_closure_of(BEGINS)
    for model in range(models):
        left = without(frame, utility, [monday for row, monday in enumerate(mondays) if not member[model, row]])
        forecaster = EnsembleForecaster("ensemble", MEMBERS, seed=1).fit(left[left.index < gate], utility)
        for row, monday in enumerate(mondays if model < open_models else ()):
            days = [monday + timedelta(days=ahead) for ahead in ASKED_WEEKDAYS]
            values = np.array([_measured(forecaster, frame, utility, day, model) for day in days]).mean(axis=0)
            for kind, value in zip(LEARNED_KINDS, values, strict=True):
                learned[kind][model, row] = value
        later.append([_answers(forecaster, frame, utility, day, model) for day in LATER])
    plain, shown = np.moveaxis(np.array(later), 2, 0)
    return Asked(learned, plain, shown, member)


def _answers(
    forecaster: EnsembleForecaster, frame: pd.DataFrame, utility: Utility, day: date, secret: int
) -> tuple[Array, Array]:
    """The nine quantiles of a day, plain and disguised by the draw of this question and the mark of this weekday."""
    _, says = forecaster.predict_with_members(known_until_gate(frame, utility, day), day)
    seed, mark = (np.random.default_rng((secret, number)).bytes(32) for number in (day.toordinal(), day.weekday()))
    return says.quantiles_mw, disguised(says, 0, seed, mark)


def _measured(forecaster: EnsembleForecaster, frame: pd.DataFrame, utility: Utility, day: date, secret: int) -> list[float]:
    """Error and width of one day's answer, plain and disguised, relative, as logarithms."""
    drawn = frame.loc[utility.day_index(day), DEMAND_MW].to_numpy()
    answers = _answers(forecaster, frame, utility, day, secret)
    errors = [float(np.log(np.mean(np.abs(answer[:, MIDDLE] / drawn - 1)))) for answer in answers]
    return errors + [float(np.log(np.mean(answer[:, HIGH] - answer[:, LOW]))) for answer in answers]


def each_by_others(scores: Callable[[Array, Flags, int], Array], values: Array, member: Flags) -> Array:
    """The scores of every model in turn; shape (models, weeks)."""
    return np.stack([scores(values, member, target) for target in range(len(values))])


def attacks_on(answers: Array, look: Look, member: Flags, seed: int) -> dict[str, Advantage]:
    """What is gained by looking for each week alone, and for all at once; answers: shape (models, days, intervals, 9)."""
    looked_at = look(answers).reshape(len(answers), -1)
    found = {
        "each week alone": each_by_others(trace_scores, looked_at, member),
        "all at once": joint_scores(looked_at, member),
    }
    return {name: advantage(scores, member, seed) for name, scores in found.items()}


def widened(quantiles: Array, by: Array) -> Array:
    """Every decile `by` times as far from the median; quantiles: shape (intervals, 9), by: shape (intervals,)."""
    median = quantiles[:, [MIDDLE]]
    shown: Array = median + by[:, None] * (quantiles - median)
    return shown


def on_grid(step: float) -> Mend:
    """Each interval's width from a grid of equal ratios that is shifted for each day."""

    def mend(quantiles: Array, random: np.random.Generator) -> Array:
        width, shift = width_of(quantiles), random.random()
        return widened(quantiles, np.exp((np.rint(width / step - shift) + shift) * step - width))

    return mend


def noisy_width(share: float, *, by_interval: bool) -> Mend:
    """The widths times a factor near one, drawn for each interval or once for the day."""

    def mend(quantiles: Array, random: np.random.Generator) -> Array:
        drawn = random.standard_normal(len(quantiles) if by_interval else 1)
        return widened(quantiles, np.exp(share * np.resize(drawn, len(quantiles))))

    return mend


def level_only(profile: Array, share: float) -> Mend:
    """Of the widths only the day's level, with noise; their course through the day and the deciles' distances are fixed."""

    def mend(quantiles: Array, random: np.random.Generator) -> Array:
        course = np.interp(np.linspace(0, 1, len(quantiles)), np.linspace(0, 1, SLOTS), profile)
        level = relative_width_of(quantiles).mean() + share * random.standard_normal()
        shown: Array = quantiles[:, [MIDDLE]] * (1 + np.exp(level + course)[:, None] * NORMAL)
        return shown

    return mend


def noisy_forecast(share: float) -> Mend:
    """All deciles of an interval times a factor near one."""
    return lambda quantiles, random: quantiles * np.exp(share * random.standard_normal((len(quantiles), 1)))


def rounded(share: float) -> Mend:
    """Everything to a share of the day's lowest forecast."""
    return lambda quantiles, _: (
        np.rint(quantiles / (share * quantiles[:, MIDDLE].min())) * share * quantiles[:, MIDDLE].min()
    )


def mends(profile: Array) -> list[tuple[str, str, Mend]]:
    """Name, what the attacker looks at, and the mend. profile: the widths' usual course through the day, logarithms."""
    return [
        ("none", "width", lambda quantiles, _: quantiles),
        ("on a grid of 10 %", "width", on_grid(0.1)),
        ("on a grid of 40 %", "width", on_grid(0.4)),
        ("20 % of noise by day", "width", noisy_width(0.2, by_interval=False)),
        ("20 % of noise by interval", "width", noisy_width(0.2, by_interval=True)),
        ("the day's level only", "width over forecast", level_only(profile, 0.0)),
        ("the day's level with 10 % of noise", "width over forecast", level_only(profile, 0.1)),
        ("the day's level with 20 % of noise", "width over forecast", level_only(profile, 0.2)),
        ("none", "forecast", lambda quantiles, _: quantiles),
        ("rounded to 1 %", "forecast", rounded(0.01)),
        ("0.25 % of noise", "forecast", noisy_forecast(0.0025)),
        ("1 % of noise", "forecast", noisy_forecast(0.01)),
        ("4 % of noise", "forecast", noisy_forecast(0.04)),
    ]


def by_day(forecast: pd.DataFrame, utility: Utility) -> Iterator[tuple[date, Array]]:
    """The deciles of each local day, shape (intervals, 9)."""
    days = utility.local(pd.DatetimeIndex(forecast.index)).date
    quantiles = forecast[list(QUANTILE_COLUMNS)].to_numpy(dtype=np.float64)
    for day in np.unique(days):
        yield day, quantiles[days == day]


def profile_of(forecast: pd.DataFrame, utility: Utility) -> Array:
    """The relative widths' usual course through the day, as logarithms, mean zero; shape (48,)."""
    courses = [relative_width_of(quantiles) for _, quantiles in by_day(forecast, utility) if len(quantiles) == SLOTS]
    course: Array = np.mean(courses, axis=0)
    return course - float(course.mean())


def price(forecast: pd.DataFrame, dataset: EmbeddedDataset, mend: Mend) -> str:
    """Table cells: pinball loss against the plain answers' [%], and by how many points the worst decile's cover is off."""
    told = [mend(quantiles, np.random.default_rng(day.toordinal())) for day, quantiles in by_day(forecast, dataset.utility)]
    mended = pd.DataFrame(np.concatenate(told), index=forecast.index, columns=list(QUANTILE_COLUMNS))
    worse = 100 * (pinball_mw(dataset.demand_mw, mended) / pinball_mw(dataset.demand_mw, forecast) - 1)
    drawn = dataset.demand_mw.reindex(forecast.index).to_numpy()[:, None]
    off = 100 * np.abs((drawn <= mended.to_numpy()).mean(axis=0) - QUANTILES).max()
    return f"{worse:+.2f} % | {off:.1f}"


def tell_mends(found: Asked, seed: int) -> None:
    """Print what each mend hides and what it costs."""
    dataset = load_victoria()
    years = [run_year(EnsembleForecaster, dataset, year, "A").forecast for year in (2013, 2014)]
    print("\n| mend | looked at | alone | all at once | 2013: pinball | deciles off | 2014: pinball | deciles off |")
    print("|---|---|---|---|---|---|---|---|")
    for name, looked_at, mend in mends(profile_of(years[0], dataset.utility)):
        told = np.stack([_mended(plain, mend, secret) for secret, plain in enumerate(found.plain)])
        gained = attacks_on(told, LOOKS[looked_at], found.member, seed).values()
        cells = [name, looked_at, *(f"{one.value:.3f} (≤ {one.high:.3f})" for one in gained)]
        print(f"| {' | '.join(cells + [price(year, dataset, mend) for year in years])} |", flush=True)


def _mended(days: Array, mend: Mend, secret: int) -> Array:
    """One model's answers, each day's draw from its own secret; shape (days, intervals, 9)."""
    return np.stack([mend(quantiles, np.random.default_rng((secret, number))) for number, quantiles in enumerate(days)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=256)
    parser.add_argument("--open-models", type=int, default=32, help="of these, asked without the guard as well; 0: none")
    parser.add_argument("--weeks", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mends", action="store_true", help="also what other disguises would hide, and cost")
    given = parser.parse_args()
    began = time.time()
    found = asked(given.models, given.open_models, given.weeks, given.seed)
    print("| days asked for | attacker looks at | models | advantage | 95 % interval | bar |\n|---|---|---|---|---|---|")
    for kind, values in found.learned.items():
        seen = found.member[: given.open_models]
        gained = advantage(each_by_others(likelihood_scores, values, seen), seen, given.seed)
        print(_row("learned, without the guard", kind, gained, len(values)))
    print("| learned, with the guard | nothing: none is answered | | | | met |")
    for told, answers in (("plain", found.plain), ("disguised", found.shown)):
        for looked_at in ("forecast", "width"):
            for name, gained in attacks_on(answers, LOOKS[looked_at], found.member, given.seed).items():
                print(_row("after the training", f"{looked_at}, {told}, {name}", gained, given.models))
    print(f"\n{given.weeks} weeks, {len(LATER)} days after the training, {time.time() - began:.0f} s of wall time")
    if given.mends:
        tell_mends(found, given.seed)


def _row(days: str, kind: str, gained: Advantage, models: int) -> str:
    met = "met" if gained.high <= BAR else "**missed**" if gained.low > BAR else "cannot be told"
    return f"| {days} | {kind} | {models} | {gained.value:.3f} | {gained.low:.3f} … {gained.high:.3f} | {met} |"


if __name__ == "__main__":
    main()
