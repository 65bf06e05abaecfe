"""What always holds in the pipeline, whatever it is given."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import Session, SQLModel, create_engine

from data.schema import Utility
from data.weather_fusion import Exclusion, Profiles
from data.weather_providers import ReportContent, to_frame
from pipeline import registry
from pipeline.case_study.scores import DayParts, figures
from pipeline.errors import NoActiveModel, PipelineError
from pipeline.ingest import Readings, load_readings, set_utility, take_demand, take_weather
from pipeline.predict import forecast_day
from pipeline.provider_standings import SAFETY_MARGIN, exclusions_at, record_decision, standings_at
from pipeline.publish import OpenedModel, open_model
from pipeline.redteam.weather_poisoning import Poisoning, climatology, poison, strength
from pipeline.registry import ACTIVE, CANDIDATE, RETIRED, REVOKED, ModelRecord
from pipeline.settings import Settings
from pipeline.station import open_station
from pipeline.weather_policy import WeatherContract, WeatherPolicy, temperature_by
from tests.unit.api import small_station

NOW = datetime(2014, 3, 1, tzinfo=UTC)
NAMES = ("aurora", "boreas", "cirrus")
INDEX = pd.date_range("2014-01-01", periods=96, freq="h", tz="UTC", name="timestamp")

moments = st.integers(0, 4 * 365 * 86400).map(lambda seconds: datetime(2012, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)


@contextlib.contextmanager
def empty_session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


@given(words)
@settings(deadline=None)
def test_every_policy_is_written_as_it_is_read(name: str) -> None:
    policy = WeatherPolicy(name)
    assert WeatherPolicy.parse(str(policy)) == policy


@given(st.text())
@settings(deadline=None)
def test_any_text_is_a_policy_or_refused(text: str) -> None:
    with contextlib.suppress(PipelineError):
        assert str(WeatherPolicy.parse(text)) == text


@given(
    st.sampled_from(["", *NAMES]),
    st.dictionaries(words, st.lists(numbers, min_size=1, max_size=11), max_size=4),
    st.dictionaries(words, st.floats(0.2, 10), max_size=4),
    st.dictionaries(words, st.tuples(moments, st.none() | moments), max_size=4),
)
@settings(deadline=None)
def test_a_contract_survives_its_json(
    trusted: str,
    coefficients: dict[str, list[float]],
    spread_c: dict[str, float],
    excluded: dict[str, tuple[datetime, datetime | None]],
) -> None:
    profiles = Profiles({name: np.array(values) for name, values in coefficients.items()}, spread_c)
    periods = {
        name: Exclusion(pd.Timestamp(since), None if until is None else pd.Timestamp(until))
        for name, (since, until) in excluded.items()
    }
    drawn = WeatherContract(WeatherPolicy(trusted), profiles, periods)
    read = WeatherContract.from_json(json.loads(json.dumps(drawn.to_json())))
    assert read.to_json() == drawn.to_json()
    assert (read.policy, read.excluded, read.profiles.spread_c) == (drawn.policy, periods, spread_c)


@given(
    st.lists(st.lists(st.none() | st.floats(-30, 45), min_size=96, max_size=96), min_size=3, max_size=3),
    st.dictionaries(st.sampled_from(NAMES), st.integers(0, 95), min_size=1, max_size=2),
    st.floats(-80, 55),
)
@settings(deadline=None, max_examples=25)
def test_whatever_an_excluded_provider_says_after_its_onset_moves_no_temperature(
    said: list[list[float | None]], onsets: dict[str, int], lie: float
) -> None:
    wide = pd.DataFrame(dict(zip(NAMES, said, strict=True)), index=INDEX, dtype=float)
    wide.iloc[0] = 10.0
    contract = WeatherContract(WeatherPolicy(), Profiles({}), {name: Exclusion(INDEX[row]) for name, row in onsets.items()})
    lied_to = wide.copy()
    for name, row in onsets.items():
        lied_to.loc[INDEX[row] :, name] = lie
    utility = Utility("UTC", pd.Timedelta(hours=1))
    (before, heard), (after, still_heard) = (temperature_by(contract, frame, utility) for frame in (wide, lied_to))
    pd.testing.assert_frame_equal(before, after)
    assert heard == still_heard


decisions = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        moments,
        st.sampled_from(["trusted", "suspect", "quarantined", "revoked", "probation"]),
        moments,
    ),
    max_size=8,
)


@given(decisions, moments)
@settings(deadline=None, max_examples=40)
def test_a_standing_is_the_last_decision_up_to_the_moment(
    decided: list[tuple[str, datetime, str, datetime]], moment: datetime
) -> None:
    with empty_session() as session:
        for provider, at, to_state, onset in decided:
            record_decision(
                session,
                provider=provider,
                to_state=to_state,  # type: ignore[arg-type]  # drawn from the five
                at=at,
                onset=onset,
                by="olga",
                reason="",
            )
        standings = standings_at(session, moment)
        excluded = exclusions_at(session, moment)
    words: dict[str, list[tuple[str, datetime, datetime]]] = {}
    for provider, at, to_state, onset in sorted(decided, key=lambda one: one[1]):
        if at <= moment:
            words.setdefault(provider, []).append((to_state, at, onset))
    last = {name: (said[-1][0], said[-1][2]) for name, said in words.items()}
    assert {name: (event.to_state, event.onset) for name, event in standings.items()} == last
    for name, said in words.items():
        refused = [number for number, (to_state, _, _) in enumerate(said) if to_state not in ("trusted", "suspect")]
        if not refused:
            assert name not in excluded
            continue
        assert excluded[name].since == pd.Timestamp(min(said[number][2] for number in refused)) - SAFETY_MARGIN
        after = said[refused[-1] + 1 :]
        assert excluded[name].until == (pd.Timestamp(after[0][1]) if after else None)


acts = st.lists(
    st.tuples(st.sampled_from(["enter", "activate", "revoke"]), st.sampled_from(["a", "b", "c", "d"])), max_size=25
)


@given(acts)
@settings(deadline=None, max_examples=40)
def test_no_revoked_model_ever_comes_back_and_one_a_role_is_active_at_most(done: list[tuple[str, str]]) -> None:
    # A retired model may be released once more; none becomes a candidate again, and no revoked one anything.
    onwards = {CANDIDATE: 0, ACTIVE: 1, RETIRED: 1, REVOKED: 2}
    with empty_session() as session:
        reached: dict[str, str] = {}
        for act, name in done:
            with contextlib.suppress(PipelineError):  # what it refuses, it may; the states afterwards are what counts
                if act == "enter":
                    registry.enter(session, a_record(name))
                elif act == "activate":
                    registry.activate(session, name)
                else:
                    registry.revoke(session, [name])
            states = {entry.model_id: entry.state for entry in registry.listing(session)}
            assert all(onwards[states[known]] >= onwards[state] for known, state in reached.items())
            active = [known for known, state in states.items() if state == ACTIVE]
            assert len(active) <= 1
            if active:
                assert registry.active(session).model_id == active[0]
            else:
                with pytest.raises(NoActiveModel):
                    registry.active(session)
            reached = states


def a_record(model_id: str) -> ModelRecord:
    return ModelRecord(
        model_id=model_id,
        role="main",
        forecaster="lightgbm",
        state=CANDIDATE,
        snapshot_id="s",
        weather_policy="multi-source",
        as_of=NOW,
        published_at=NOW,
        published_by="ann",
    )


utilities = st.builds(
    Utility,
    timezone=st.sampled_from(["UTC", "Australia/Melbourne", "America/St_Johns", "Asia/Kathmandu"]),
    step=st.sampled_from([5, 10, 15, 20, 30, 60]).map(lambda minutes: pd.Timedelta(minutes=minutes)),
    gate_closure=st.builds(time, st.integers(0, 23), st.integers(0, 59)),
    holidays=st.frozensets(st.dates(date(1990, 1, 1), date(2040, 1, 1)), max_size=6),
    demand_delay=st.integers(0, 5000).map(lambda minutes: pd.Timedelta(minutes=minutes)),
)


@given(st.lists(utilities, min_size=1, max_size=8))
@settings(deadline=None, max_examples=4)
def test_whose_readings_these_are_is_remembered(several: list[Utility]) -> None:
    with tempfile.TemporaryDirectory() as home:
        station = open_station(Settings(home=Path(home)))
        take_demand(station, pd.DataFrame({"demand_mw": 1.0, "available_at": INDEX}, index=INDEX))
        take_weather(station, to_frame([]))
        for utility in several:
            set_utility(station, utility)
            assert load_readings(station).utility == utility
        station.engine.dispose()


@given(moments, moments, st.integers(1, 400))
@settings(deadline=None)
def test_a_lie_never_fades_and_never_exceeds_its_full_strength(one: datetime, two: datetime, ramp_days: int) -> None:
    attack = Poisoning(start=date(2014, 2, 15), ramp_days=ramp_days)
    earlier, later = sorted([one, two])
    begin = datetime(2014, 2, 15, tzinfo=UTC)
    assert 0.0 <= strength(earlier, attack) <= strength(later, attack) <= 1.0
    assert (strength(one, attack) > 0) == (one > begin)
    assert (strength(one, attack) == 1.0) == (one >= begin + timedelta(days=ramp_days))


celsius = st.none() | st.floats(-20, 45).map(lambda value: round(value, 1))


@given(
    st.lists(st.floats(-20, 45).map(lambda value: round(value, 1)), min_size=4, max_size=8),
    st.lists(celsius, min_size=1, max_size=8),
    st.integers(0, 300),
    st.floats(0, 10),
)
@settings(deadline=None)
def test_a_poisoned_value_stays_within_what_was_seen_or_is_what_was_said(
    seen: list[float], said: list[float | None], days: int, degrees: float
) -> None:
    attack = Poisoning(start=date(2014, 2, 15), warm_c=degrees, push_c=degrees)

    def report(issued_at: datetime, values: list[float | None]) -> ReportContent:
        return ReportContent(
            format=1,
            provider="aurora",
            issued_at=issued_at,
            step_minutes=60,
            observed_from=issued_at,
            observed_c=values,
            forecast_from=issued_at,
            forecast_c=values,
        )

    # Every month of the year before was like `seen`.
    honest = [
        (moment, report(moment, list(seen))) for moment in (datetime(2013, month, 9, tzinfo=UTC) for month in range(1, 13))
    ]
    moment = datetime(2014, 2, 15, tzinfo=UTC) + timedelta(days=days)
    honest.append((moment, report(moment, said)))
    poisoned = poison(honest, attack)
    assert poisoned[:-1] == honest[:-1]
    assert set(climatology(honest, attack).values()) == {(min(seen), max(seen))}
    for before, after in zip(said * 2, poisoned[-1][1].observed_c + poisoned[-1][1].forecast_c, strict=True):
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            assert min(seen) <= after <= max(seen) or after == before


energies = st.floats(1, 1e5)
day_parts = st.builds(
    DayParts,
    day=st.dates(date(2013, 1, 1), date(2014, 12, 31)).map(date.isoformat),
    intervals=st.integers(46, 50),
    actual_mwh=energies,
    forecast_mwh=energies,
    over_mwh=st.floats(0, 1e4),
    mape_percent=st.floats(0, 100),
    inside_80=st.integers(0, 46),
    mild_intervals=st.integers(0, 46),
    mild_actual_mwh=energies,
    mild_forecast_mwh=energies,
    model_id=st.just("m"),
    weather=st.just("multi-source"),
)


@given(st.lists(day_parts, min_size=1, max_size=12))
@settings(deadline=None)
def test_figures_lie_between_the_days_and_do_not_mind_their_order(parts: list[DayParts]) -> None:
    whole = figures(parts)
    shuffled = sorted(parts, key=lambda part: (part.mape_percent, part.over_mwh), reverse=True)
    again = figures(shuffled)
    assert again == pytest.approx(whole, abs=2e-3)
    daily = [part.mape_percent for part in parts]
    assert min(daily) - 1e-3 <= whole["mape_percent"] <= max(daily) + 1e-3
    assert 0 <= whole["cover_80_percent"] <= 100
    assert whole["over_mwh"] == pytest.approx(sum(part.over_mwh for part in parts), abs=0.1)
    perfect = [dataclasses.replace(part, mild_forecast_mwh=part.mild_actual_mwh) for part in parts]
    assert figures(perfect)["mild_bias_percent"] == 0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OpenedModel:
    station = open_station(small_station.settings_for(small_station.build(tmp_path_factory.mktemp("model") / "home")))
    with Session(station.engine) as session:
        model_id = registry.active(session).model_id
    opened = open_model(station, model_id)
    station.engine.dispose()
    return opened


@given(
    st.dates(date(2023, 2, 12), small_station.LAST_DAY),
    st.integers(0, 2**32 - 1),
    st.floats(-1e5, 1e5) | st.just(float("nan")),
)
@settings(deadline=None, max_examples=15)
def test_nothing_known_after_the_gate_closure_moves_a_forecast(
    model: OpenedModel, day: date, seed: int, scale: float
) -> None:
    utility = small_station.UTILITY
    demand, weather = small_station.demand_and_weather()
    gate = utility.gate_closure_of(day)
    random = np.random.default_rng(seed)
    later = demand["available_at"] > gate
    garbled_demand = demand.assign(demand_mw=demand["demand_mw"].mask(later, scale * random.normal(size=len(demand))))
    issued_later = weather["issued_at"] > gate
    said = weather["temperature_c"].mask(issued_later, 40 * random.normal(size=len(weather)))
    kept = random.random(len(weather)) < 0.7
    garbled_weather = weather.assign(temperature_c=said)[kept | ~issued_later]
    one, two = (
        forecast_day(Readings(utility, *frames), model, None, {}, day)
        for frames in ((demand, weather), (garbled_demand, garbled_weather))
    )
    pd.testing.assert_frame_equal(one.frame, two.frame, check_exact=True)
    assert one.forecast_id == two.forecast_id
