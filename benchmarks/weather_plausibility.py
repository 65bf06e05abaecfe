"""Which what-if temperatures are answered, which with a wider interval, which refused; and how much wider is right.

    python -m benchmarks.weather_plausibility            real days of 2014 and made-up ones, against what 2012–2013 taught
    python -m benchmarks.weather_plausibility --growth   how the forecast error grows with the distance: chosen on 2013

Growth. The days furthest out are taken from the ensemble and from what plausibility learns, then they and the year that
follows are forecast and judged: days further than anything that was learned from. `GROWTH` is the
smallest exponent whose cover on 2013 reaches the 80 % that is promised; 2014 is held out. Realised temperatures: a what-if's
are its condition.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

import numpy as np

from benchmarks.what_if_paths import PATHS, RealDay
from benchmarks.yardstick import realised
from data.datasets import EmbeddedDataset, load_victoria
from data.schema import DEMAND_MW, TEMPERATURE_C, Array, days_between
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from forecasting.forecaster import QUANTILE_COLUMNS
from forecasting.weather_plausibility import GROWTH, REFUSED_AT, Judgement, Verdict, WeatherPlausibility

SEED = 7
HELD_OUT = 2014
HEAT_WAVE = (date(2014, 1, 14), date(2014, 1, 17))
UNUSUAL_BAR_PERCENT = 2.0
KEPT_SHARES = (0.7, 0.85, 1.0)
EXPONENTS = np.arange(0.0, 2.01, 0.25)
# A forecast looks back 52 days.
FIRST_FORECAST = date(2012, 3, 15)
NINETY_FIVE = 1.96

REAL_HEADER = "| real days | judged | unusual | refused | furthest | missed |\n|---|---|---|---|---|---|"
MADE_HEADER = "| made-up path | usual | unusual | refused | distance, median |\n|---|---|---|---|---|"
GROWTH_HEADER = (
    "| exponent | interval score 2013, MW | interval score 2014, MW | cover 2013 | cover 2014 |\n|---|---|---|---|---|"
)


@dataclass(frozen=True, eq=False)
class Far:
    """A day further out than what was learned from, and its forecast; year: for which it counts."""

    year: int
    distance: float
    actual_mw: Array
    deciles_mw: Array


@cache
def victoria() -> EmbeddedDataset:
    """Read once."""
    return load_victoria()


def path_of(day: date) -> Array:
    """Realised temperatures of a local day [°C]."""
    return victoria().temperature_c[victoria().utility.day_index(day)].to_numpy(dtype=np.float64)


def learned_before(year: int) -> WeatherPlausibility:
    """From every realised temperature before a local year."""
    data = victoria()
    end = data.utility.day_index(date(year, 1, 1))[0]
    return WeatherPlausibility.learn(data.temperature_c[data.temperature_c.index < end], data.utility)


def judged(learned: WeatherPlausibility, day: date, path_c: Array) -> Judgement:
    """Against the evening before as it was."""
    return learned.judge(day, path_c, path_of(day - timedelta(days=1)))


def real_rows(year: int) -> list[str]:
    """Markdown rows under `REAL_HEADER`."""
    learned = learned_before(year)
    rows = []
    first_to_last = (date(year, 1, 1), date(year, 12, 31))
    for name, period in (("all", first_to_last), ("January heat wave", HEAT_WAVE))[: 2 if year == HELD_OUT else 1]:
        verdicts = [judged(learned, day, path_of(day)) for day in days_between(*period)]
        counts = _counts(verdicts)
        unusual = 100 * counts[Verdict.UNUSUAL] / len(verdicts)
        too_many = year == HELD_OUT and name == "all" and unusual > UNUSUAL_BAR_PERCENT
        missed = counts[Verdict.IMPOSSIBLE] > 0 or too_many
        furthest = max(verdict.distance for verdict in verdicts)
        told = f"{counts[Verdict.UNUSUAL]} ({unusual:.1f} %) | {counts[Verdict.IMPOSSIBLE]} | {furthest:.2f}"
        rows.append(f"| {year}, {name} | {len(verdicts)} | {told} | {'missed' if missed else ''} |")
    return rows


def made_rows(year: int = HELD_OUT, every: int = 3) -> list[str]:
    """Markdown rows under `MADE_HEADER`: each path made from every third day of a year."""
    learned = learned_before(year)
    rows = []
    for name, make in PATHS.items():
        random = np.random.default_rng(SEED)
        verdicts = []
        for day in days_between(date(year, 1, 2), date(year, 12, 31))[::every]:
            path_c, other_c = path_of(day), path_of(_half_a_year_from(day))
            hour = np.arange(len(path_c)) * 24 / victoria().utility.steps_per_day
            made_c = make(RealDay(path_c, np.resize(other_c, len(path_c)), hour), random)
            verdicts.append(judged(learned, day, made_c))
        counts = _counts(verdicts)
        shares = " | ".join(_share(counts[verdict], len(verdicts)) for verdict in Verdict)
        distance = float(np.median([verdict.distance for verdict in verdicts]))
        rows.append(f"| {name} | {shares} | {f'{distance:.2f}' if np.isfinite(distance) else 'beyond physics'} |")
    return rows


def growth_rows() -> list[str]:
    """Markdown rows under `GROWTH_HEADER`: days beyond what was learned, at each kept share."""
    far = [day for share in KEPT_SHARES for year in (2013, HELD_OUT) for day in _far_days(share, year)]
    rows = []
    for exponent in EXPONENTS:
        scores, covers = zip(
            *(_scored([day for day in far if day.year == year], exponent) for year in (2013, 2014)), strict=True
        )
        told = " | ".join([*(f"{score:.0f}" for score in scores), *(f"{cover:.1f} %" for cover in covers)])
        rows.append(f"| {exponent:.2f}{' (chosen)' if exponent == GROWTH else ''} | {told} |")
    return rows


def _far_days(share: float, year: int) -> list[Far]:
    """Days beyond the edge of what the nearest `share` of the days before `year` teach: of `year`, and those left out."""
    utility, frame = victoria().utility, realised(victoria())
    history = frame[frame.index < utility.day_index(date(year, 1, 1))[0]].copy()
    before = days_between(date(2012, 1, 2), date(year - 1, 12, 31))
    whole = learned_before(year)
    distance = np.array([judged(whole, day, path_of(day)).distance for day in before])
    left_out = [day for day, far in zip(before, distance, strict=True) if far > np.quantile(distance, share)]
    for day in left_out:
        history.loc[utility.day_index(day)] = np.nan
    learned = WeatherPlausibility.learn(history[TEMPERATURE_C], utility)
    # The weather before a day is known to the model; only the day itself is not learned from.
    told = history.assign(**{TEMPERATURE_C: frame[TEMPERATURE_C]})
    forecaster = EnsembleForecaster().fit(told, utility)
    answers = []
    for day in [*days_between(date(year, 1, 1), date(year, 12, 31)), *(day for day in left_out if day >= FIRST_FORECAST)]:
        far = judged(learned, day, path_of(day)).distance
        # What is refused is not widened.
        if 1 < far <= REFUSED_AT:
            answer = forecaster.predict(known_until_gate(frame, utility, day), day)
            actual_mw = frame.loc[answer.index, DEMAND_MW].to_numpy(dtype=np.float64)
            answers.append(Far(year, far, actual_mw, answer[list(QUANTILE_COLUMNS)].to_numpy(dtype=np.float64)))
    return answers


def _scored(days: list[Far], exponent: float) -> tuple[float, float]:
    """Interval score [MW] and cover [%] of [q10, q90] widened by distance ** exponent (Gneiting & Raftery, 2007)."""
    scores, inside = [], []
    for day in days:
        low, middle, high = (day.deciles_mw[:, column] for column in (0, 4, 8))
        factor = day.distance**exponent
        low, high = middle + factor * (low - middle), middle + factor * (high - middle)
        outside = np.maximum(low - day.actual_mw, 0) + np.maximum(day.actual_mw - high, 0)
        scores.append(high - low + 2 / 0.2 * outside)
        inside.append(outside == 0)
    return float(np.concatenate(scores).mean()), 100 * float(np.concatenate(inside).mean())


def _half_a_year_from(day: date) -> date:
    return day + timedelta(days=182) if day.month < 7 else day - timedelta(days=182)


def _counts(judgements: list[Judgement]) -> dict[Verdict, int]:
    return {verdict: sum(one.verdict is verdict for one in judgements) for verdict in Verdict}


def _share(count: int, of: int) -> str:
    """With its 95 % interval (Wilson, 1927)."""
    share, squared = count / of, NINETY_FIVE**2 / of
    middle = (share + squared / 2) / (1 + squared)
    half = NINETY_FIVE * np.sqrt(share * (1 - share) / of + squared / of / 4) / (1 + squared)
    return f"{100 * share:.0f} % ({100 * max(middle - half, 0):.0f}–{100 * min(middle + half, 1):.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--growth", action="store_true", help="how much wider is right, half a minute")
    if parser.parse_args().growth:
        print("\n".join([GROWTH_HEADER, *growth_rows()]))
        return
    print(f"Refused beyond a distance of {REFUSED_AT:g}; the interval grows with distance to the power of {GROWTH:g}.\n")
    print("\n".join([REAL_HEADER, *real_rows(2013), *real_rows(HELD_OUT), "", MADE_HEADER, *made_rows()]))


if __name__ == "__main__":
    main()
