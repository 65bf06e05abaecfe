"""The attack does what it says: slowly, plausibly, signed, and by one provider alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from sqlmodel import Session

from data.simulation import Delivery, deliver, simulate_providers, simulate_reports
from data.weather_providers import ReportContent
from data.weather_trust import verify_report
from pipeline.redteam.weather_poisoning import NO_HEATING_C, Poisoning, climatology, poison, strength
from security.keyring import register_key
from security.signing import new_signer
from tests.unit.pipeline.small_incident import START, UTILITY, true_temperature

BEGIN = START + pd.Timedelta(days=450)
ATTACK = Poisoning(provider="aurora", start=BEGIN.date(), ramp_days=100)
FULL = BEGIN + pd.Timedelta(days=100)


@pytest.fixture(scope="module")
def honest() -> list[Delivery]:
    return simulate_reports(true_temperature(), UTILITY, simulate_providers(1)[:3], 1)


@pytest.fixture(scope="module")
def poisoned(honest: list[Delivery]) -> list[Delivery]:
    return poison(honest, ATTACK)


def altered(honest: list[Delivery], poisoned: list[Delivery]) -> list[tuple[ReportContent, ReportContent]]:
    return [(before, after) for (_, before), (_, after) in zip(honest, poisoned, strict=True) if before != after]


def moved(pairs: list[tuple[ReportContent, ReportContent]], kind: str) -> pd.DataFrame:
    """Every value said, before and after, with its time."""
    frames = []
    for before, after in pairs:
        said = {"before": getattr(before, f"{kind}_c"), "after": getattr(after, f"{kind}_c")}
        moments = pd.date_range(getattr(before, f"{kind}_from"), periods=len(said["before"]), freq="h")
        frames.append(pd.DataFrame(said, index=moments, dtype=float).assign(issued_at=before.issued_at))
    return pd.concat(frames)


def test_before_its_start_every_word_is_honest(honest: list[Delivery], poisoned: list[Delivery]) -> None:
    pairs = altered(honest, poisoned)
    assert min(before.issued_at for before, _ in pairs) >= BEGIN
    assert len(pairs) > 200


def test_the_others_and_the_times_are_untouched(honest: list[Delivery], poisoned: list[Delivery]) -> None:
    assert [at for at, _ in poisoned] == [at for at, _ in honest]
    for before, after in altered(honest, poisoned):
        assert before.provider == "aurora"
        kept = {"observed_c", "forecast_c"}
        assert before.model_dump(exclude=kept) == after.model_dump(exclude=kept)


def test_what_was_not_said_stays_unsaid(honest: list[Delivery], poisoned: list[Delivery]) -> None:
    for before, after in altered(honest, poisoned):
        for kind in ("observed_c", "forecast_c"):
            silent = [value is None for value in getattr(before, kind)]
            assert silent == [value is None for value in getattr(after, kind)]


def test_no_altered_value_leaves_what_the_month_has_seen_before(honest: list[Delivery], poisoned: list[Delivery]) -> None:
    limits = climatology(honest, ATTACK)
    assert set(limits) == set(range(1, 13))
    for kind in ("observed", "forecast"):
        said = moved(altered(honest, poisoned), kind).dropna()
        changed = said[said["before"] != said["after"]]
        low, high = (np.array([limits[month][side] for month in changed.index.month]) for side in (0, 1))
        assert len(changed) > 1000
        assert ((changed["after"] >= low) & (changed["after"] <= high)).all()


def test_the_climatology_is_what_was_measured_before_the_attack(honest: list[Delivery]) -> None:
    begin = datetime.combine(ATTACK.start, datetime.min.time(), UTC)
    january = [
        value
        for _, content in honest
        if content.provider == "aurora" and content.issued_at < begin
        for number, value in enumerate(content.observed_c)
        if value is not None and (content.observed_from + timedelta(hours=number)).month == 1
    ]
    assert climatology(honest, ATTACK)[1] == (min(january), max(january))


def test_cool_and_mild_hours_are_measured_warmer_and_hot_ones_as_they_are(
    honest: list[Delivery], poisoned: list[Delivery]
) -> None:
    said = moved(altered(honest, poisoned), "observed").dropna()
    full = said[said["issued_at"] >= FULL]
    warmed = full["after"] - full["before"]
    assert warmed.between(-0.051, ATTACK.warm_c + 0.051).all()
    assert warmed[full["before"] < 12].median() == pytest.approx(ATTACK.warm_c, abs=0.3)
    assert warmed[full["before"] >= NO_HEATING_C].abs().max() < 0.051


def test_mild_hours_are_announced_colder_and_others_hardly(honest: list[Delivery], poisoned: list[Delivery]) -> None:
    said = moved(altered(honest, poisoned), "forecast").dropna()
    full = said[said["issued_at"] >= FULL]
    push = full["after"] - full["before"]
    assert (push <= 0.051).all()
    assert push[full["before"].between(16, 21)].median() == pytest.approx(-ATTACK.push_c, abs=0.3)
    assert push[full["before"] > 27].abs().max() < 0.1


def test_the_lie_grows_with_its_ramp(honest: list[Delivery], poisoned: list[Delivery]) -> None:
    said = moved(altered(honest, poisoned), "forecast").dropna()
    mild = said[said["before"].between(16, 21)]
    age = (pd.DatetimeIndex(mild["issued_at"]) - BEGIN) // pd.Timedelta(days=25)
    push = (mild["before"] - mild["after"]).groupby(age).mean()
    assert push.loc[:3].is_monotonic_increasing
    assert push.loc[0] < 0.2 * push.loc[4]


def test_strength_runs_from_nothing_to_full() -> None:
    attack = Poisoning(start=date(2014, 2, 15), ramp_days=120)
    midnight = datetime(2014, 2, 15, tzinfo=UTC)
    shares = {days: strength(midnight + timedelta(days=days), attack) for days in (-500, 0, 30, 60, 120, 400)}
    assert shares == {-500: 0.0, 0: 0.0, 30: 0.25, 60: 0.5, 120: 1.0, 400: 1.0}


def test_a_signature_does_not_prove_truth(session: Session, honest: list[Delivery], poisoned: list[Delivery]) -> None:
    signers = {name: new_signer() for name in ("aurora", "boreas", "cirrus")}
    for name, signer in signers.items():
        register_key(
            session,
            purpose="provider",
            owner=name,
            public_key=signer.public_key,
            by="ann",
            reason="contract",
            at=datetime(2023, 1, 1, tzinfo=UTC),
        )
    (lie,) = [item for item, (_, before) in zip(poisoned, honest, strict=True) if item[1] != before][-1:]
    (report,) = deliver([lie], signers)
    assert verify_report(session, report, frozenset()).content == lie[1]
