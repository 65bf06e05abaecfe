"""What an operator may do: revoke, put on probation, trust again; and what a source then begins with."""

from __future__ import annotations

import pytest

from data.errors import DataError
from data.schema import Array
from data.trust.readings import Flag
from data.trust.standing import TrustState
from data.trust.watch import Progress, WeatherWatch
from tests.unit.trust.trust_town import (
    DAY,
    RULES,
    Town,
    after_baseline,
    come_to,
    judge,
    lied,
    row_of,
    town,
)

ONSET = 12


def test_an_operator_revokes_from_the_next_row_on():
    place = town(3)
    watch = after_baseline(place)
    first = judge(watch, place, place.readings, rows=slice(0, 30))
    at = place.index[place.start + 30]
    event = watch.set_standing("c", "revoked", at, "key stolen", at)
    assert (event.from_state, event.to_state, event.level, event.reason) == ("trusted", "revoked", 0, "key stolen")
    second = judge(watch, place, place.readings, rows=slice(30, None))
    assert (first.sources == 3).all()
    assert (second.sources <= 2).all()
    assert (second.flags[:, 2] & Flag.EXCLUDED).all()


def test_one_on_probation_is_held_against_the_others_without_counting_among_them():
    place = town(3)
    readings = lied(place, 2, lambda said: said + 3.0, ONSET)
    watch = after_baseline(place)
    at = place.index[place.start]
    watch.set_standing("c", "revoked", at, "contract ended", at)
    watch.set_standing("c", "probation", at, "a new contract", at)
    progress = judge(watch, place, readings)
    assert watch.standings[2] == "probation"
    assert (progress.sources <= 2).all()
    assert progress.days[ONSET + 5].scores[2] > 10.0
    assert max(record.scores[:2].max() for record in progress.days) < 10.0


def mended(place: Town, readings: Array) -> tuple[WeatherWatch, Progress]:
    """b lies for five days, is mended, on probation on day 25 and trusted again on day 30."""
    watch = after_baseline(place)
    judge(watch, place, readings, rows=slice(0, 25 * DAY))
    assert watch.standings[1] == "quarantined"
    for day, state in ((25, "probation"), (30, "trusted")):
        at = place.index[row_of(place, day)]
        watch.set_standing("b", state, at, "mended", at)
        progress = judge(watch, place, readings, rows=slice(day * DAY, 30 * DAY if day == 25 else None))
    return watch, progress


def test_one_who_is_trusted_again_is_not_punished_again_for_the_old_lie():
    place = town(3)
    watch, progress = mended(place, lied(place, 1, lambda said: said + 3.0, ONSET, ONSET + 5))
    assert progress.events == ()
    assert watch.standings == ["trusted"] * 3
    assert (progress.sources == 3).mean() > 0.95


def test_one_who_is_trusted_again_after_spikes_begins_without_them():
    place = town(4)
    readings = place.readings.copy()
    readings[row_of(place, ONSET) : row_of(place, 29) : 17, 1] += 9.0
    _, progress = mended(place, readings)
    assert progress.events == ()


def test_one_who_is_trusted_again_and_lies_again_is_found_again():
    place = town(3)
    readings = lied(place, 1, lambda said: said + 3.0, ONSET, ONSET + 5)
    readings[row_of(place, 40) :, 1] -= 3.0
    _, progress = mended(place, readings)
    assert come_to(progress, "quarantined") == ["b"]
    assert progress.events[0].onset >= place.index[row_of(place, 36)]


def test_an_act_before_the_baseline_has_ended_counts_as_well():
    place = town(3)
    watch = WeatherWatch(place.names, place.timezone, place.step, RULES)
    at = place.index[0]
    watch.set_standing("a", "revoked", at, "never signed a contract", at)
    progress = watch.advance(place.index, place.readings)
    assert (progress.sources <= 2).all()
    assert come_to(progress, "quarantined") == []


@pytest.mark.parametrize("state", ["quarantined", "revoked"])
def test_an_operator_leads_back_to_trust_through_probation_only(state: TrustState):
    watch = after_baseline(town(3))
    at = town(3).index[town(3).start]
    watch.set_standing("a", state, at, "key stolen", at)
    with pytest.raises(DataError, match="cannot become trusted"):
        watch.set_standing("a", "trusted", at, "never mind", at)
    assert watch.standings[0] == state
    assert watch.set_standing("a", "probation", at, "new key", at).from_state == state
    assert watch.set_standing("a", "trusted", at, "proved", at).from_state == "probation"


def test_a_name_that_is_no_source_is_refused():
    at = town(3).index[0]
    with pytest.raises(DataError, match="no source"):
        after_baseline(town(3)).set_standing("nobody", "revoked", at, "", at)
