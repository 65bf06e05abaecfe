"""Numbers and utilities as JSON."""

from __future__ import annotations

import json
from datetime import date, time

import numpy as np
import pandas as pd
import pytest

from data.schema import Utility
from forecasting.arrays import array, packed, utility_from_json, utility_to_json

VALUES = np.array([[1.0, -2.5, 1e-300], [0.1, np.pi, 1e300]])


def test_what_is_packed_comes_back_to_the_last_bit_through_json():
    np.testing.assert_array_equal(array(json.loads(json.dumps(packed(VALUES)))), VALUES)


def test_single_precision_takes_half_the_room_and_comes_back_as_doubles():
    values = np.array([0.5, 0.1, 3.0])
    found = array(packed(values, single=True))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, values.astype(np.float32))
    assert len(packed(values, single=True)["base64"]) < len(packed(values)["base64"])


def test_an_array_laid_out_the_other_way_around_is_packed_row_by_row():
    np.testing.assert_array_equal(array(packed(VALUES.T)), VALUES.T)


def test_an_empty_array_keeps_its_shape():
    assert array(packed(np.empty((3, 0)))).shape == (3, 0)


def test_a_list_of_numbers_is_an_array():
    assert array([1, 2.5]).tolist() == [1.0, 2.5]


@pytest.mark.parametrize(
    "content",
    [
        packed(np.array([1.0, np.nan])),
        packed(np.array([np.inf])),
        [1.0, float("nan")],
        [None],
        ["a"],
        {**packed(VALUES), "type": "<i8"},
        {**packed(VALUES), "type": "|O8"},
        {**packed(VALUES), "shape": [7]},
        {**packed(VALUES), "base64": "no!"},
        {"shape": [1]},
        {**packed(VALUES), "base64": None},
    ],
)
def test_what_is_no_array_of_finite_numbers_is_refused(content: object):
    with pytest.raises((ValueError, KeyError, TypeError)):
        array(content)


def test_a_utility_comes_back_as_it_was():
    utility = Utility(
        "Asia/Kathmandu",
        pd.Timedelta(minutes=15),
        gate_closure=time(11, 45),
        holidays=frozenset({date(2013, 5, 1), date(2014, 1, 1)}),
        demand_delay=pd.Timedelta(minutes=20),
        lead_days=3,
    )
    assert utility_from_json(json.loads(json.dumps(utility_to_json(utility)))) == utility
