"""How far 2,000 crafted what-if questions move the forecast beyond its stated interval, with and without the judgement.

    python -m benchmarks.crafted_weather            some minutes
    python -m benchmarks.crafted_weather --questions 200

The ensemble learned 2012–2013, the days are of 2014. What stops the asking itself, the query guard, is left out: the worst
case. The move is defined in pipeline/redteam/crafted_weather.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from benchmarks.weather_plausibility import learned_before, path_of, victoria
from benchmarks.yardstick import realised
from data.schema import Array, Utility
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from forecasting.member_says import MemberSays
from forecasting.told_weather import day_before, predict_told
from forecasting.weather_plausibility import Verdict, WeatherPlausibility
from pipeline.redteam.crafted_weather import Answered, Ask, Refused, nearest_seen, search

QUESTIONS, SEED, YEAR = 2000, 11, 2014
DAYS = (date(2014, 1, 22), date(2014, 4, 16), date(2014, 7, 9), date(2014, 10, 15))
HEADER = (
    "| day | judged | move beyond the stated interval | the answer's median moved at most | refused |\n|---|---|---|---|---|"
)


@dataclass(frozen=True, eq=False)
class Scene:
    """A model and what it knows before one day."""

    forecaster: EnsembleForecaster
    learned: WeatherPlausibility
    known: pd.DataFrame
    day: date
    utility: Utility

    def says(self, path_c: Array) -> MemberSays:
        """The model under this path, not judged."""
        return predict_told(self.forecaster, self.known, self.day, path_c, self.utility, doubted=False)[1]

    def ask(self, path_c: Array) -> Answered:
        """Without a judgement every path is answered alike."""
        return _answered(self.says(path_c))

    def ask_judged(self, path_c: Array) -> Answered | Refused:
        """As pipeline.what_if answers."""
        judgement = self.learned.judge(self.day, path_c, *day_before(self.known, self.day, self.utility))
        if judgement.verdict is Verdict.IMPOSSIBLE:
            return Refused(judgement.distance)
        return _answered(self.says(path_c).widened(judgement.widening))

    def reference(self, path_c: Array) -> Array:
        """What the model says of the nearest weather that was seen [MW]."""
        slot = np.arange(len(path_c)) * 24 // self.utility.steps_per_day % 24
        low_c, high_c = (bound[slot] for bound in self.learned.climate.seen_c(self.day))
        return _answered(self.says(nearest_seen(path_c, low_c, high_c))).median_mw


def scenes() -> list[Scene]:
    """One a season."""
    data, frame = victoria(), realised(victoria())
    history = frame[frame.index < data.utility.day_index(date(YEAR, 1, 1))[0]]
    forecaster, learned = EnsembleForecaster().fit(history, data.utility), learned_before(YEAR)
    return [Scene(forecaster, learned, known_until_gate(frame, data.utility, day), day, data.utility) for day in DAYS]


def rows(scene: Scene, questions: int) -> list[str]:
    """Markdown rows under `HEADER`."""
    start_c = path_of(scene.day)
    asks: dict[str, Ask] = {"no": scene.ask, "yes": scene.ask_judged}
    answers = []
    for judged, ask in asks.items():
        found = search(ask, scene.reference, start_c, questions, SEED)
        median = _percent(scene.ask(found.path_c).median_mw, scene.reference, found.path_c)
        told = f"{found.move_percent:.2f} % | {median:.1f} % | {found.refused} of {found.questions}"
        answers.append(f"| {scene.day} | {judged} | {told} |")
    return answers


def _answered(says: MemberSays) -> Answered:
    return Answered(says.quantiles_mw[:, 4], says.quantiles_mw[:, 0], says.quantiles_mw[:, 8])


def _percent(median_mw: Array, reference: Callable[[Array], Array], path_c: Array) -> float:
    expected_mw = reference(path_c)
    return float(100 * np.abs(median_mw - expected_mw).max() / expected_mw.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    questions = parser.parse_args().questions
    print(HEADER)
    for scene in scenes():
        print("\n".join(rows(scene, questions)), flush=True)


if __name__ == "__main__":
    main()
