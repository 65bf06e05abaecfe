"""Is a provider to be believed? Its signature, its format and time, and a slow drift from what the others say."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from sqlmodel import Session

from data.datasets import EmbeddedDataset
from data.errors import ReportRefused
from data.schema import Utility
from data.weather_fusion import Profiles, learn_profiles
from data.weather_providers import ReportContent, UnverifiedReport, encode
from data.weather_trust import CUSUM_THRESHOLD, TrustEvent, verify_report, watch
from security.keyring import register_key, revoke_keys_of
from security.signing import Signer, new_signer, sign_bytes

ProviderWeather = Callable[[int], tuple[pd.DataFrame, pd.DataFrame]]
Kinds = dict[str, pd.DataFrame]

ISSUED = datetime(2014, 3, 1, 21, tzinfo=UTC)
RECEIVED = ISSUED + timedelta(minutes=10)
BASELINE_END = pd.Timestamp("2012-12-31T13:00Z")
ONSET = pd.Timestamp("2013-03-31T13:00Z")


# Levels 0 and 1


@pytest.fixture
def signer(session: Session) -> Signer:
    return registered(session, "aurora")


def registered(session: Session, owner: str) -> Signer:
    signer = new_signer()
    key = signer.public_key
    register_key(session, purpose="provider", owner=owner, public_key=key, by="ops", reason="contract", at=ISSUED)
    return signer


def content_of(**changes: object) -> ReportContent:
    content = ReportContent(
        format=1,
        provider="aurora",
        issued_at=ISSUED,
        step_minutes=30,
        observed_from=ISSUED - timedelta(hours=1),
        observed_c=[14.2, 14.0],
        forecast_from=ISSUED,
        forecast_c=[13.5],
    )
    return content.model_copy(update=changes)


def delivery(content: ReportContent, signer: Signer, provider: str = "aurora") -> UnverifiedReport:
    payload = encode(content)
    return UnverifiedReport(provider, signer.key_id, RECEIVED, payload, sign_bytes(payload, signer))


def reason_of(session: Session, report: UnverifiedReport, seen: frozenset[str] = frozenset()) -> str:
    with pytest.raises(ReportRefused) as refusal:
        verify_report(session, report, seen)
    assert refusal.value.provider == report.provider
    return refusal.value.reason


def test_a_report_signed_by_its_providers_active_key_is_verified(session: Session, signer: Signer):
    report = delivery(content_of(), signer)
    verified = verify_report(session, report, frozenset())
    assert verified.content == content_of()
    assert verified.digest == hashlib.sha256(report.payload).hexdigest()
    assert (verified.provider, verified.key_id, verified.received_at) == ("aurora", signer.key_id, RECEIVED)


def test_another_keys_signature_is_unauthentic(session: Session, signer: Signer):
    good = delivery(content_of(), signer)
    forged = delivery(content_of(), new_signer())
    assert reason_of(session, UnverifiedReport("aurora", signer.key_id, RECEIVED, good.payload, forged.signature)) == (
        "unauthentic"
    )


def test_a_payload_changed_after_signing_is_unauthentic(session: Session, signer: Signer):
    good = delivery(content_of(), signer)
    changed = good.payload.replace(b"14.2", b"17.2")
    assert reason_of(session, UnverifiedReport("aurora", signer.key_id, RECEIVED, changed, good.signature)) == "unauthentic"


@pytest.mark.usefixtures("signer")
def test_a_key_that_was_never_registered_is_not_accepted(session: Session):
    assert reason_of(session, delivery(content_of(), new_signer())) == "revoked"


def test_a_revoked_key_is_not_accepted(session: Session, signer: Signer):
    revoke_keys_of(session, "provider", "aurora", by="ops", reason="compromised", at=ISSUED)
    assert reason_of(session, delivery(content_of(), signer)) == "revoked"


@pytest.mark.usefixtures("signer")
def test_another_providers_key_is_not_accepted(session: Session):
    other = registered(session, "boreas")
    assert reason_of(session, delivery(content_of(), other)) == "revoked"


def test_the_very_same_report_is_taken_once(session: Session, signer: Signer):
    report = delivery(content_of(), signer)
    verified = verify_report(session, report, frozenset())
    assert reason_of(session, report, frozenset({verified.digest})) == "replayed"


def test_a_report_in_another_providers_name_is_misattributed(session: Session, signer: Signer):
    assert reason_of(session, delivery(content_of(provider="boreas"), signer)) == "misattributed"


def test_a_well_signed_report_outside_the_format_is_invalid(session: Session, signer: Signer):
    payload = encode(content_of()).replace(b"14.2", b"99.9")
    report = UnverifiedReport("aurora", signer.key_id, RECEIVED, payload, sign_bytes(payload, signer))
    assert reason_of(session, report) == "invalid"


@pytest.mark.parametrize(("ahead", "taken"), [(timedelta(minutes=5), True), (timedelta(minutes=6), False)])
def test_clocks_may_differ_by_five_minutes_and_no_more(session: Session, signer: Signer, ahead: timedelta, taken: bool):
    report = delivery(content_of(issued_at=RECEIVED + ahead), signer)
    if taken:
        assert verify_report(session, report, frozenset())
    else:
        assert reason_of(session, report) == "from_the_future"


@pytest.mark.parametrize("name", ["issued_at", "observed_from", "forecast_from"])
def test_a_report_that_would_rewrite_what_is_long_past_is_too_old(session: Session, signer: Signer, name: str):
    week_old = delivery(content_of(**{name: RECEIVED - timedelta(days=8)}), signer)
    assert verify_report(session, week_old, frozenset())
    older = delivery(content_of(**{name: RECEIVED - timedelta(days=8, seconds=1)}), signer)
    assert reason_of(session, older) == "too_old"


# Level 3 on five simulated providers


@pytest.fixture
def utility(victoria: EmbeddedDataset) -> Utility:
    return victoria.utility


def altered(frames: tuple[pd.DataFrame, pd.DataFrame], name: str, lie: Callable[[pd.Series], pd.Series]) -> Kinds:
    measured, forecast = (frame.copy() for frame in frames)
    for frame in (measured, forecast):
        frame.loc[ONSET:, name] = lie(frame.loc[ONSET:, name])
    return {"measured": measured, "forecast": forecast}


def watched(kinds: Kinds, utility: Utility) -> list[TrustEvent]:
    return watch(kinds, learn_profiles(kinds["measured"].loc[:BASELINE_END], utility), utility, BASELINE_END)


def offset(values: pd.Series) -> pd.Series:
    return values + 3.0


def ramp(values: pd.Series) -> pd.Series:
    return values + 0.05 * ((pd.DatetimeIndex(values.index) - ONSET) / pd.Timedelta(days=1))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_honest_providers_are_left_alone_for_a_year(provider_weather: ProviderWeather, utility: Utility, seed: int):
    measured, forecast = provider_weather(seed)
    assert watched({"measured": measured, "forecast": forecast}, utility) == []


@pytest.mark.parametrize(
    ("name", "lie", "days", "onset_days"),
    [("boreas", offset, 7, 7), ("aurora", offset, 7, 7), ("aurora", ramp, 35, 20), ("eurus", ramp, 35, 20)],
)
def test_a_drifting_provider_is_found_named_and_dated(
    provider_weather: ProviderWeather,
    utility: Utility,
    name: str,
    lie: Callable[[pd.Series], pd.Series],
    days: int,
    onset_days: int,
):
    events = watched(altered(provider_weather(1), name, lie), utility)
    (found,) = [event for event in events if event.to_state == "quarantined"]
    assert found.provider == name
    assert pd.Timedelta(0) < found.at - ONSET <= pd.Timedelta(days=days)
    assert abs(found.onset - ONSET) <= pd.Timedelta(days=onset_days)
    assert found.statistic >= CUSUM_THRESHOLD
    assert found.level == 3
    assert "drift above the other providers" in found.reason


def test_a_provider_is_suspect_before_it_is_quarantined(provider_weather: ProviderWeather, utility: Utility):
    events = [
        event for event in watched(altered(provider_weather(1), "cirrus", ramp), utility) if event.provider == "cirrus"
    ]
    assert [(event.from_state, event.to_state) for event in events] == [
        ("trusted", "suspect"),
        ("suspect", "quarantined"),
    ]
    assert events[0].at < events[1].at


def test_forecasts_alone_give_a_liar_away(provider_weather: ProviderWeather, utility: Utility):
    measured, forecast = provider_weather(1)
    lying = altered((measured, forecast), "dewpoint", lambda values: values - 3.0)["forecast"]
    (found,) = [
        event for event in watched({"measured": measured, "forecast": lying}, utility) if event.to_state == "quarantined"
    ]
    assert found.provider == "dewpoint"
    assert found.reason == "forecast temperatures drift below the other providers"


def test_of_two_liars_each_is_found_and_the_honest_ones_stay(provider_weather: ProviderWeather, utility: Utility):
    kinds = altered(provider_weather(1), "aurora", offset)
    kinds = altered((kinds["measured"], kinds["forecast"]), "boreas", lambda values: values - 3.0)
    quarantined = [event.provider for event in watched(kinds, utility) if event.to_state == "quarantined"]
    assert sorted(quarantined) == ["aurora", "boreas"]


def test_a_lie_from_the_first_watched_day_is_not_dated_back_into_the_baseline(
    provider_weather: ProviderWeather, utility: Utility
):
    measured, forecast = provider_weather(1)
    profiles = learn_profiles(measured.loc[:BASELINE_END], utility)
    kinds = {"measured": measured.copy(), "forecast": forecast.copy()}
    for frame in kinds.values():
        frame.loc[BASELINE_END:, "boreas"] += 3.0
    (found,) = [e for e in watch(kinds, profiles, utility, BASELINE_END) if e.to_state == "quarantined"]
    assert found.onset == BASELINE_END


# Level 3 on small made-up providers


HOURLY = Utility("UTC", pd.Timedelta(hours=1))
START = pd.Timestamp("2013-01-01T00:00Z")
LEARNED = START + pd.Timedelta(days=60)


def made_up(days: int = 120, names: str = "abcd", spread: float = 0.3) -> pd.DataFrame:
    index = pd.date_range(START, periods=24 * days, freq="h", name="timestamp")
    random = np.random.default_rng(7)
    truth = 15 + random.normal(0, 5, len(index))
    daily = {name: np.repeat(random.normal(0, spread, days), 24) for name in names}
    return pd.DataFrame({name: truth + daily[name] for name in names}, index=index)


def judged(wide: pd.DataFrame, baseline_end: pd.Timestamp = LEARNED) -> list[TrustEvent]:
    return watch({"measured": wide}, Profiles({}), HOURLY, baseline_end)


def test_a_newcomer_without_a_past_is_held_to_what_the_others_say():
    wide = made_up()
    wide.loc[: LEARNED - pd.Timedelta(hours=1), "d"] = np.nan
    assert judged(wide) == []
    wide["d"] += 4.0
    found = judged(wide)[-1]
    assert (found.provider, found.to_state) == ("d", "quarantined")
    assert found.at <= LEARNED + pd.Timedelta(days=10)


def test_providers_that_never_differed_are_watched_like_any_other():
    wide = made_up(spread=0.0)
    wide.loc[LEARNED + pd.Timedelta(days=20) :, "a"] += 0.5
    found = judged(wide)[-1]
    assert (found.provider, found.to_state) == ("a", "quarantined")


def test_a_provider_that_strayed_for_some_days_is_trusted_again_when_it_agrees():
    wide = made_up()
    strayed = slice(LEARNED + pd.Timedelta(days=10), LEARNED + pd.Timedelta(days=13, hours=-1))
    wide.loc[strayed, "a"] += 1.6
    events = judged(wide)
    assert [(event.provider, event.to_state) for event in events] == [("a", "suspect"), ("a", "trusted")]
    assert events[1].reason == "agrees with the other providers again"


def test_days_on_which_a_provider_is_silent_say_nothing_against_it():
    wide = made_up()
    wide.loc[LEARNED + pd.Timedelta(days=5) : LEARNED + pd.Timedelta(days=25), "b"] = np.nan
    assert judged(wide) == []


def test_two_providers_cannot_be_told_apart_so_nobody_is_accused():
    wide = made_up(names="ab")
    wide.loc[LEARNED:, "a"] += 5.0
    assert judged(wide) == []


def test_when_two_are_left_the_watch_ends():
    wide = made_up(names="abc")
    wide.loc[LEARNED:, "a"] += 5.0
    wide.loc[LEARNED + pd.Timedelta(days=30) :, "b"] -= 5.0
    assert [event.provider for event in judged(wide) if event.to_state == "quarantined"] == ["a"]


def test_a_baseline_of_no_day_at_all_makes_everybody_a_newcomer():
    wide = made_up()
    wide.loc[START + pd.Timedelta(days=30) :, "c"] += 5.0
    assert judged(wide, START)[-1].provider == "c"


def test_frames_that_are_watched_are_not_changed():
    wide = made_up()
    before = wide.copy()
    judged(wide)
    pd.testing.assert_frame_equal(wide, before)
