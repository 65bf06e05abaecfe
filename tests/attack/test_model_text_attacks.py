"""Model texts made to crash the server that reads them (AML.T0018 manipulated model, AML.T0029 denial of service).

LightGBM alone takes the process down with it, where nothing can be caught; behind the validator nothing reaches it. Each
text is read in a process of its own, so that the attack may win.
"""

from __future__ import annotations

import re

import pytest

from benchmarks.fuzz_model_text import BAD, OTHER, REFUSED, SAME, Original, answer_of, outcomes
from benchmarks.model_text_mutants import with_true_sizes
from benchmarks.yardstick import alone
from tests.unit.forecasting.small_model_text import FEATURES, model_text, written

ORIGINAL = Original(model_text(), FEATURES, answer_of(model_text(), FEATURES))
TREE = ([1, -1], [-2, -3])


def spoilt(old: bytes, new: bytes) -> bytes:
    """Every `old` made `new`, with sizes as true as an attacker would make them."""
    text = model_text()
    assert old in text
    return with_true_sizes(text.replace(old, new))


ATTACKS = {
    "cut off among the trees": model_text()[: model_text().index(b"Tree=3") + 200],
    "a tree that is its own child": written(TREE, ([0, -1], [-2, -3])),
    "trees in a circle": written(TREE, ([1, 0], [-1, -2])),
    "a leaf far outside": written(TREE, ([1, -1], [-2, -(10**8)])),
    "a node far outside": written(TREE, ([10**8, -1], [-2, -3])),
    "a feature far outside": with_true_sizes(written(TREE).replace(b"split_feature=0", b"split_feature=100000000")),
    "more leaves than values": spoilt(b"num_leaves=", b"num_leaves=9"),
    "fewer values than nodes": with_true_sizes(written(TREE).replace(b"threshold=0.5 0.5", b"threshold=0.5")),
    "no number": with_true_sizes(written(TREE).replace(b"leaf_value=1", b"leaf_value=one")),
    "categories that are not there": spoilt(b"num_cat=0", b"num_cat=5"),
    "a tree without children": re.sub(rb"left_child=[^\n]*\n", b"", model_text()),
    "a tree said to be larger than the text": re.sub(rb"tree_sizes=\d+", b"tree_sizes=999999999", model_text()),
    "a line with too many signs": spoilt(b"num_leaves=", b"num=leaves="),
}


@pytest.fixture(scope="module")
def read_by_lightgbm_alone() -> dict[str, str]:
    return dict(zip(ATTACKS, alone(outcomes, list(ATTACKS.values()), ORIGINAL, False), strict=True))


@pytest.fixture(scope="module")
def read_behind_the_validator() -> dict[str, str]:
    return dict(zip(ATTACKS, alone(outcomes, list(ATTACKS.values()), ORIGINAL, True), strict=True))


@pytest.mark.parametrize("attack", ATTACKS)
def test_lightgbm_alone_crashes_or_hangs_on_a_text_that_the_validator_refuses(
    attack: str, read_by_lightgbm_alone: dict[str, str], read_behind_the_validator: dict[str, str]
) -> None:
    assert read_by_lightgbm_alone[attack] in BAD
    assert read_behind_the_validator[attack] == REFUSED


def test_the_texts_that_were_spoilt_are_read_as_they_were() -> None:
    assert alone(outcomes, [model_text(), written(TREE)], ORIGINAL, True) == [SAME, OTHER]


def test_one_digit_of_a_forecast_gets_past_the_validator_so_that_only_the_signature_tells() -> None:
    text = model_text()
    at = text.index(b"leaf_value=") + len(b"leaf_value=-0.")
    changed = text[:at] + (b"9" if text[at : at + 1] != b"9" else b"1") + text[at + 1 :]
    assert alone(outcomes, [text, changed], ORIGINAL, True) == [SAME, OTHER]
