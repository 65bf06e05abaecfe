"""The arithmetic of the trust benchmark: intervals, bars, days of lying, rows; no watch is run."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks import trust
from benchmarks.intervals import poisson, wilson
from benchmarks.trust_cost import REVOKED, Cost, cost_rows, damage_row
from benchmarks.trust_runs import ATTACKS, Attacked, Run, Setting, quarantines
from benchmarks.trust_summary import summary_header, summary_rows
from benchmarks.trust_table import HEADER, WRONG_HEADER, Bars, bars_of, fused_ratio, table_row, totals_row, wrong_rows
from data.rough_stations import PROVIDERS, STATIONS
from data.trust.standing import TrustEvent

FOUND = Attacked(
    attack="offset+3",
    seed=1,
    start="2013-05-01",
    delay_days=1.0,
    lie_days=1.0,
    named=True,
    onset_error_days=-0.5,
    wrong=0,
    honest_days=365.25,
    error_c=1.0,
    clean_error_c=1.0,
    others_error_c=1.02,
    reason="reads too warm",
)
RUN = Run(Setting(3, STATIONS, demand=False), 1, 1, 5 * 365.25, (FOUND,), 0)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    # Newcombe, Statistics in Medicine 17, 1998, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_a_share_is_wilsons(hits: int, trials: int, low: float, high: float):
    assert wilson(hits, trials) == pytest.approx((low, high), abs=1e-4)


def test_no_trials_say_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("count", "low", "high"), [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (10, 4.7954, 18.3904)])
def test_the_interval_of_a_rate_is_the_exact_one(count: int, low: float, high: float):
    assert poisson(count, 1.0) == pytest.approx((low, high), abs=1e-4)
    assert poisson(count, 4.0) == pytest.approx((low / 4, high / 4), abs=1e-4)


@pytest.mark.parametrize(
    ("attack", "days", "onset"),
    [
        ("offset+3", 2, 7),
        ("offset-1.5", 7, 7),
        ("mild+2", 7, None),
        ("ramp+0.02", 50, 21),
        ("ramp-0.05", 20, 21),
        ("frozen", 2, None),
        ("fahrenheit", 2, None),
        ("replay", 2, None),
        ("shift3h", 2, None),
        ("shift1h", None, None),
        ("pull25%", None, None),
    ],
)
def test_the_bars_are_those_of_the_issue_and_stations_have_twice_the_delay(
    attack: str, days: float | None, onset: float | None
):
    assert bars_of(attack, 3, PROVIDERS) == Bars(days, onset, 0.99, 1.10)
    assert bars_of(attack, 3, STATIONS) == Bars(days and 2 * days, onset, 0.99, 1.10)


def test_with_two_sources_only_the_name_is_asked_for_and_with_one_nothing():
    assert bars_of("offset+3", 2, STATIONS) == Bars(named=0.95)
    assert bars_of("offset+3", 1, STATIONS) == Bars()


def test_the_patient_attacker_need_not_be_named():
    assert bars_of("patient", 4, PROVIDERS) == Bars(ratio=1.10)


def test_a_row_that_meets_its_bars_misses_none():
    row = _cells(table_row("3", [FOUND] * 40, bars_of("offset+3", 3, PROVIDERS)), HEADER)
    assert row["in time %"] == "100 (91–100)"
    assert row["days: median, 90 %"] == "1.0, 1.0"
    assert row["onset error days: median, 90 %"] == "0.5, 0.5"
    assert row["fused error ratio: all, 90 %, others alone"] == "1.00, 1.00, 1.02"
    assert row["missed"] == "none"


def test_each_missed_bar_is_called_by_its_name():
    late = replace(FOUND, lie_days=3.0, named=False, onset_error_days=-20.0, error_c=1.5)
    row = _cells(table_row("3", [late] * 10, bars_of("offset+3", 3, PROVIDERS)), HEADER)
    assert row["missed"] == "delay, named, onset, fused"


def test_nineteen_of_twenty_in_time_are_enough_and_eighteen_are_not():
    never = replace(FOUND, lie_days=np.inf, delay_days=np.inf)
    bars = Bars(days=2.0)
    assert _cells(table_row("3", [FOUND] * 19 + [never], bars), HEADER)["missed"] == "none"
    row = _cells(table_row("3", [FOUND] * 18 + [never] * 2, bars), HEADER)
    assert row["missed"] == "delay"
    assert row["days: median, 90 %"] == "1.0, 1.0"
    assert _cells(table_row("3", [never] * 2, bars), HEADER)["days: median, 90 %"] == "never, never"


def test_a_ramp_tells_the_bias_that_it_reached():
    ramp = replace(FOUND, attack="ramp-0.05", lie_days=16.0)
    assert _cells(table_row("3", [ramp], bars_of("ramp-0.05", 3, PROVIDERS)), HEADER)["bias °C at 90 %"] == "0.80"


def test_a_lie_that_nobody_noticed_has_no_onset_and_counts_as_not_named():
    unseen = replace(FOUND, lie_days=np.inf, named=None, onset_error_days=np.nan)
    row = _cells(table_row("3", [unseen] * 4, bars_of("offset+3", 3, PROVIDERS)), HEADER)
    assert (row["named %"], row["nobody %"]) == ("0 (0–49)", "100")
    assert row["onset error days: median, 90 %"] == "–"
    assert row["missed"] == "delay, named"


def test_the_fused_ratio_is_that_of_all_squared_errors_together():
    assert fused_ratio([1.0, 2.0], [1.0, 1.0]) == pytest.approx(np.sqrt(5 / 2))
    assert fused_ratio([2.0, np.nan], [1.0, 1.0]) == 2.0
    assert np.isnan(fused_ratio([np.nan], [1.0]))


def test_where_nothing_was_fused_there_is_no_ratio():
    silent = replace(FOUND, error_c=np.nan, others_error_c=np.nan)
    row = _cells(table_row("1 and demand", [silent], bars_of("offset+3", 1, STATIONS)), HEADER)
    assert row["fused error ratio: all, 90 %, others alone"] == "–, –, –"
    assert row["missed"] == "none"


def test_totals_leave_the_patient_attacker_out():
    wrong = replace(FOUND, named=False)
    patient = replace(FOUND, attack="patient", named=None)
    run = replace(RUN, attacked=(FOUND, wrong, patient), left_out=4)
    assert totals_row("3", [run]) == "| 3 | 2 (4) | 50 (9–91) | 50 (9–91) | 0 (0–66) | named |"
    assert totals_row("3", [replace(run, attacked=())]).startswith("| 3 | 0 (4) |")


def test_wrong_quarantines_are_counted_by_ten_provider_years():
    rows = wrong_rows("3", [RUN, RUN])
    assert len(WRONG_HEADER.split("\n")[0].split("|")) == len(rows[0].split("|"))
    assert rows[0] == "| 3 | without a lie | 2 | 10 | 2.00 (0.24–7.22) | wrong |"
    assert rows[1] == "| 3 | during lies | 0 | 2 | 0.00 (0.00–18.44) | none |"


def test_three_and_more_sources_stand_together_first_and_fewer_apart():
    runs = [replace(RUN, setting=Setting(count, STATIONS, demand=count < 3)) for count in (1, 2, 3, 5)]
    together, apart = trust.groups_of(runs)
    assert list(together) == ["3–5", "2 and demand", "1 and demand"]
    assert list(apart) == ["5", "3", "2 and demand", "1 and demand"]
    assert len(together["3–5"]) == 2


def test_the_tables_hold_a_row_for_every_attack_that_was_tried():
    text = "\n".join(trust.tables([RUN], ATTACKS))
    assert text.count("| offset+3 |") == 1
    assert "| frozen |" not in text


def test_attacks_are_chosen_by_the_beginning_of_their_names():
    assert trust.chosen(["ramp", "pat"]) == ("ramp+0.02", "ramp-0.02", "ramp+0.05", "ramp-0.05", "patient")
    assert trust.chosen([]) == ATTACKS


def test_fewer_than_three_sources_are_always_told_demand():
    told = {setting.sources: setting.demand for setting in trust.settings_of([3, 2, 1], [STATIONS], demand=False)}
    assert told == {3: False, 2: True, 1: True}


def test_what_never_happened_is_null_in_json():
    never = replace(RUN, attacked=(replace(FOUND, delay_days=np.inf, onset_error_days=np.nan),))
    (run,) = json.loads(trust.as_json([never]))
    assert run["setting"] == {"sources": 3, "roughness": 1.0, "demand": False}
    assert run["attacked"][0]["delay_days"] is None
    assert run["attacked"][0]["onset_error_days"] is None
    assert run["attacked"][0]["named"] is True


def test_runs_come_back_from_json_as_they_were():
    never = replace(RUN, attacked=(replace(FOUND, delay_days=np.inf, lie_days=np.inf, named=None), FOUND))
    assert trust.from_json(trust.as_json([never, RUN])) == [never, RUN]


def test_the_summary_has_a_column_for_each_kind_of_stations_and_says_what_is_missed():
    late = replace(FOUND, lie_days=3.0)
    kinds = {
        "city": [replace(RUN, setting=Setting(3, PROVIDERS, demand=False), attacked=(FOUND, late))],
        "stations": [replace(RUN, wrong=0, attacked=(FOUND, late))],
    }
    rows = summary_rows(kinds)
    header = summary_header(list(kinds))
    assert all(row.count("|") == header.split("\n", maxsplit=1)[0].count("|") for row in rows)
    assert rows[0] == "| offset 3 °C out in 2 days | 95 % | 50 (9–91), missed | 100 (34–100) |"
    assert "| ≤ 1 | 2.00 (0.05–11.14), missed | 0.00 (0.00–7.38) |" in rows[-2]
    assert rows[-1].endswith("| 1.00 (1.02) | 1.00 (1.02) |")
    assert rows[1].endswith("| – | – |")


def test_only_quarantines_count_as_quarantines():
    at = pd.Timestamp("2013-05-01", tz="UTC")
    suspect = TrustEvent("a", at, "trusted", "suspect", 3, "reads too warm", at, 7.0)
    out = replace(suspect, from_state="suspect", to_state="quarantined")
    assert quarantines([suspect, out]) == [out]


def test_costs_stand_against_their_bars():
    rows = cost_rows(Cost(history_s=2.0, row_us=np.array([1000.0, 2000.0, 6000.0]), growth_kb=3.0))
    assert rows[0].endswith("| 2.00 s | 3 s | none |")
    assert "median 400 µs" in rows[1]
    assert rows[1].endswith("| missed |")


def test_damage_is_measured_in_points_and_the_patient_attacker_may_do_twice_as_much():
    assert damage_row("mild+2", 2.08, 2.0).endswith("| +0.080 | 0.05 | missed |")
    assert damage_row("patient", 2.08, 2.0).endswith("| +0.080 | 0.10 | none |")
    assert damage_row(REVOKED, 2.08, 2.0).endswith("| +0.080 | – | |")


def _cells(row: str, header: str) -> dict[str, str]:
    names, values = ([cell.strip() for cell in line.split("|")[1:-1]] for line in (header.split("\n", maxsplit=1)[0], row))
    return dict(zip(names, values, strict=True))
