"""One of five weather providers lies (AML.T0010.002, AML.T0020): it wins where it alone is trusted, and loses among five.

The lies stay within plausible temperatures, and the provider signs them with its own valid key: no signature helps. Then
the lies that signatures are there for: forged, replayed, revoked and misattributed reports.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from sqlmodel import Session

from data.datasets import EmbeddedDataset
from data.errors import ReportRefused
from data.schema import MILD_C, TEMPERATURE_C, VALID_AT
from data.weather_fusion import Exclusion, exclude, fuse, known_at, learn_profiles
from data.weather_providers import ReportContent, UnverifiedReport, VerifiedReport, decode, encode, to_frame
from data.weather_trust import verify_report
from pipeline.ingest import Readings
from pipeline.monitor import judge_providers
from pipeline.provider_standings import SAFETY_MARGIN
from security.keyring import register_key, revoke_keys_of
from security.signing import Signer, new_signer, sign_bytes

ProviderWeather = Callable[[int], tuple[pd.DataFrame, pd.DataFrame]]
Lie = Callable[[pd.Series, pd.Series], pd.Series]

BASELINE_END = pd.Timestamp("2012-12-31T13:00Z")
ONSET = pd.Timestamp("2013-03-31T13:00Z")
END = pd.Timestamp("2013-05-31T14:00Z")


def days_since_onset(values: pd.Series) -> pd.Series:
    return pd.Series((pd.DatetimeIndex(values.index) - ONSET) / pd.Timedelta(days=1), index=values.index)


LIES: dict[str, Lie] = {
    "three degrees too warm": lambda said, _: said + 3.0,
    "a ramp of 0.05 degrees a day": lambda said, _: said + 0.05 * days_since_onset(said),
    "too cold in mild hours only": lambda said, truth: said.mask(truth.between(*MILD_C), said - 2.5),
    "a pull towards mild": lambda said, _: said + 0.3 * (np.mean(MILD_C) - said),
}
# Days until it is found out, at most.
FOUND_WITHIN = {
    "three degrees too warm": 3,
    "a ramp of 0.05 degrees a day": 35,
    "too cold in mild hours only": 10,
    "a pull towards mild": 10,
}


def told(wide: pd.DataFrame, liar: str, lie: str, truth: pd.Series) -> pd.DataFrame:
    lying = wide.copy()
    lying.loc[ONSET:, liar] = LIES[lie](lying.loc[ONSET:, liar], truth.loc[ONSET:])
    return lying


def readings_of(measured: pd.DataFrame, forecast: pd.DataFrame, victoria: EmbeddedDataset) -> Readings:
    """As a station would hold them until END: measured half an hour later, forecast at each gate closure."""
    utility = victoria.utility
    index = pd.DatetimeIndex(measured.loc[:END].index[:-1])
    local = utility.local(index).tz_localize(None).normalize()
    days = local.unique()
    closures = pd.DatetimeIndex([utility.gate_closure_of(day.date()) for day in days])[days.get_indexer(local)]
    frames = [
        pd.DataFrame({"provider": name, "issued_at": issued_at, "valid_at": index, "temperature_c": wide[name].loc[index]})
        for wide, issued_at in ((measured, index + utility.step), (forecast, closures))
        for name in wide.columns
    ]
    weather = pd.concat(frames).dropna().sort_values(["provider", "valid_at", "issued_at"], ignore_index=True)
    demand = victoria.demand_mw.loc[index].to_frame("demand_mw").assign(available_at=index + utility.step)
    return Readings(utility, demand, weather)


@pytest.mark.parametrize(
    ("lie", "liar"),
    [*((lie, "aurora") for lie in LIES), ("three degrees too warm", "cirrus"), ("a pull towards mild", "eurus")],
)
def test_one_lying_provider_wins_where_it_alone_is_trusted_and_loses_among_five(
    provider_weather: ProviderWeather, victoria: EmbeddedDataset, liar: str, lie: str
):
    measured, forecast = provider_weather(1)
    truth = victoria.temperature_c.reindex(measured.index)
    lying, foretold = (told(wide, liar, lie, truth) for wide in (measured, forecast))
    assert lying[liar].between(-5, 60).mean() > 0.98

    # Off: whatever the trusted provider says is the temperature.
    wrong = (lying[liar] - measured[liar]).abs().loc[ONSET:]
    assert (wrong.resample("7D").mean() > 1.0).sum() >= 4

    # On: it is compared with the others and with demand, named, and left out from its onset on.
    found = [e for e in judge_providers(readings_of(lying, foretold, victoria), END) if e.to_state == "quarantined"]
    assert [event.provider for event in found] == [liar]
    assert ONSET < found[0].at <= ONSET + pd.Timedelta(days=FOUND_WITHIN[lie])
    assert abs(found[0].onset - ONSET) <= pd.Timedelta(days=21 if "ramp" in lie else 7)
    profiles = learn_profiles(measured.loc[:BASELINE_END], victoria.utility)
    everybody = list(measured.columns)
    cleaned = exclude(lying, {liar: Exclusion(found[0].onset - SAFETY_MARGIN)})
    defended = fuse(cleaned, profiles, victoria.utility, everybody)[TEMPERATURE_C]
    clean = fuse(measured, profiles, victoria.utility, everybody)[TEMPERATURE_C]
    assert rmse(defended.loc[ONSET:], clean.loc[ONSET:]) < 0.4


def test_a_provider_that_lies_in_its_forecasts_alone_is_found_out_by_them(
    provider_weather: ProviderWeather, victoria: EmbeddedDataset
):
    measured, forecast = provider_weather(1)
    foretold = told(forecast, "dewpoint", "three degrees too warm", victoria.temperature_c)
    found = [e for e in judge_providers(readings_of(measured, foretold, victoria), END) if e.to_state == "quarantined"]
    assert [event.provider for event in found] == ["dewpoint"]
    assert found[0].reason.startswith("forecast: reads too warm")
    assert found[0].at <= ONSET + pd.Timedelta(days=7)


@pytest.mark.parametrize("seed", [1, 2])
def test_honest_providers_are_left_alone(provider_weather: ProviderWeather, victoria: EmbeddedDataset, seed: int):
    events = judge_providers(readings_of(*provider_weather(seed), victoria), END)
    assert [event for event in events if event.to_state == "quarantined"] == []


@pytest.mark.parametrize("lie", LIES)
def test_before_it_is_caught_the_median_already_holds_most_of_a_lie_off(
    provider_weather: ProviderWeather, victoria: EmbeddedDataset, lie: str
):
    measured, _ = provider_weather(1)
    lying = told(measured, "aurora", lie, victoria.temperature_c.reindex(measured.index))
    profiles = learn_profiles(measured.loc[:BASELINE_END], victoria.utility)
    fused, clean = (fuse(wide, profiles, victoria.utility, list(wide.columns))[TEMPERATURE_C] for wide in (lying, measured))
    assert (
        rmse(fused.loc[ONSET:], clean.loc[ONSET:]) < 0.3 < rmse(lying.loc[ONSET:, "aurora"], measured.loc[ONSET:, "aurora"])
    )


def test_three_liars_of_five_who_agree_win_since_a_median_needs_an_honest_majority(
    provider_weather: ProviderWeather, victoria: EmbeddedDataset
):
    measured, _ = provider_weather(1)
    lying = measured.copy()
    lying.loc[ONSET:, ["aurora", "boreas", "cirrus"]] += 3.0
    profiles = learn_profiles(measured.loc[:BASELINE_END], victoria.utility)
    fused, clean = (fuse(wide, profiles, victoria.utility, list(wide.columns))[TEMPERATURE_C] for wide in (lying, measured))
    assert rmse(fused.loc[ONSET:], clean.loc[ONSET:]) > 2.0


def rmse(one: pd.Series, other: pd.Series) -> float:
    return float(np.sqrt(((one - other) ** 2).mean()))


# Reports that signatures, digests and clocks are there for

ISSUED = datetime(2014, 3, 1, 21, tzinfo=UTC)
RECEIVED = ISSUED + timedelta(minutes=10)


@pytest.fixture
def keys(session: Session) -> dict[str, Signer]:
    signers = {name: new_signer() for name in ("aurora", "boreas")}
    for name, signer in signers.items():
        key = signer.public_key
        register_key(session, purpose="provider", owner=name, public_key=key, by="ops", reason="contract", at=ISSUED)
    return signers


def report(
    signer: Signer, celsius: float = 35.0, provider: str = "aurora", observed_from: datetime | None = None
) -> UnverifiedReport:
    content = ReportContent(
        format=1,
        provider=provider,
        issued_at=ISSUED,
        step_minutes=30,
        observed_from=observed_from or ISSUED - timedelta(hours=1),
        observed_c=[celsius, celsius],
        forecast_from=ISSUED,
        forecast_c=[celsius],
    )
    payload = encode(content)
    return UnverifiedReport("aurora", signer.key_id, RECEIVED, payload, sign_bytes(payload, signer))


def taken_without_checks(delivery: UnverifiedReport) -> pd.DataFrame:
    """The safeguard off: the payload is parsed and believed."""
    content = decode(delivery.payload, delivery.provider)
    return to_frame([VerifiedReport(content.provider, delivery.key_id, delivery.received_at, "", content)])


def assert_refused(session: Session, delivery: UnverifiedReport, reason: str, seen: frozenset[str] = frozenset()) -> None:
    with pytest.raises(ReportRefused) as refusal:
        verify_report(session, delivery, seen)
    assert refusal.value.reason == reason


def test_a_forged_report_wins_unchecked_and_loses_against_its_signature(session: Session, keys: dict[str, Signer]):
    mallory = new_signer()
    forged = report(mallory)
    as_aurora = UnverifiedReport("aurora", keys["aurora"].key_id, RECEIVED, forged.payload, forged.signature)
    assert (taken_without_checks(as_aurora)[TEMPERATURE_C] == 35.0).all()
    assert_refused(session, as_aurora, "unauthentic")
    assert_refused(session, forged, "revoked")


def test_a_value_altered_on_the_way_wins_unchecked_and_loses_against_the_signature(
    session: Session, keys: dict[str, Signer]
):
    good = report(keys["aurora"], 18.0)
    payload = good.payload.replace(b"18.0", b"15.5")
    altered = UnverifiedReport("aurora", good.key_id, RECEIVED, payload, good.signature)
    assert (taken_without_checks(altered)[TEMPERATURE_C] == 15.5).all()
    assert_refused(session, altered, "unauthentic")


def test_a_report_delivered_again_as_news_wins_unchecked_and_loses_against_its_digest(
    session: Session, keys: dict[str, Signer]
):
    first = report(keys["aurora"])
    digest = verify_report(session, first, frozenset()).digest
    later = UnverifiedReport("aurora", first.key_id, RECEIVED + timedelta(days=5), first.payload, first.signature)
    assert len(taken_without_checks(later)) == 3
    assert_refused(session, later, "replayed", frozenset({digest}))


def test_a_revoked_key_wins_unchecked_and_loses_against_the_keyring(session: Session, keys: dict[str, Signer]):
    revoke_keys_of(session, "provider", "aurora", by="ops", reason="supply chain compromised", at=RECEIVED)
    lie = report(keys["aurora"])
    assert (taken_without_checks(lie)[TEMPERATURE_C] == 35.0).all()
    assert_refused(session, lie, "revoked")


def test_a_lie_in_another_providers_name_wins_unchecked_and_loses_against_its_own(session: Session, keys: dict[str, Signer]):
    slander = report(keys["aurora"], provider="boreas")
    assert taken_without_checks(slander)["provider"].unique().tolist() == ["boreas"]
    assert_refused(session, slander, "misattributed")
    posing = UnverifiedReport("boreas", keys["aurora"].key_id, RECEIVED, slander.payload, slander.signature)
    assert_refused(session, posing, "revoked")


def test_rewriting_the_baseline_it_is_judged_by_wins_unchecked_and_loses_against_the_clock(
    session: Session, keys: dict[str, Signer]
):
    said_then = ISSUED - timedelta(days=300)
    rewriting = report(keys["aurora"], 25.0, observed_from=said_then)
    honest = pd.DataFrame(
        {
            "provider": "aurora",
            "issued_at": pd.Timestamp(said_then) + pd.Timedelta(hours=1),
            VALID_AT: [pd.Timestamp(said_then), pd.Timestamp(said_then) + pd.Timedelta(minutes=30)],
            TEMPERATURE_C: 15.0,
        }
    )
    both = pd.concat([honest, taken_without_checks(rewriting)]).sort_values(["provider", VALID_AT, "issued_at"])
    start, step = pd.Timestamp(said_then), pd.Timedelta(minutes=30)
    assert known_at(both, pd.Timestamp(RECEIVED), start, start + step, step)["aurora"].tolist() == [25.0, 25.0]
    assert_refused(session, rewriting, "too_old")


def test_a_signature_lent_from_another_report_does_not_help(session: Session, keys: dict[str, Signer]):
    honest, lie = report(keys["aurora"], 18.0), report(keys["aurora"], 35.0)
    for signature in (honest.signature, b"", b"\0" * 64, base64.b64encode(lie.signature)):
        forged = UnverifiedReport("aurora", lie.key_id, RECEIVED, lie.payload, signature)
        assert_refused(session, forged, "unauthentic")
