"""A model text is read as a stranger's: what our own trees are written as, to the byte, and nothing else."""

from __future__ import annotations

import time

import lightgbm as lgb
import numpy as np
import pytest

from benchmarks.model_text_mutants import with_true_sizes
from forecasting import lightgbm_text
from forecasting.errors import ModelFileRefused
from forecasting.lightgbm_member import BOOSTING
from forecasting.lightgbm_text import open_booster, validate_model_text
from tests.unit.forecasting.small_model_text import FEATURES, TREES, chain, model_text, rows, written


def refusal_of(text: bytes, features: int = FEATURES) -> str:
    with pytest.raises(ModelFileRefused) as refused:
        validate_model_text(text, features=features)
    return str(refused.value)


def changed(old: bytes, new: bytes, text: bytes | None = None) -> bytes:
    """The first `old` made `new`, and the sizes of the trees made true again."""
    text = model_text() if text is None else text
    assert old in text
    return with_true_sizes(text.replace(old, new, 1))


@pytest.mark.parametrize("objective", ["regression", "quantile"])
def test_what_we_train_is_read_and_forecasts_as_before(objective: str):
    text = model_text(objective)
    validate_model_text(text, features=FEATURES, trees=TREES)
    expected = lgb.Booster(model_str=text.decode()).predict(rows())
    np.testing.assert_array_equal(open_booster(text, features=FEATURES).predict(rows()), expected)
    assert open_booster(text, features=FEATURES).model_to_string().encode() == text


def test_trees_that_found_nothing_to_split_are_read():
    settings = {**BOOSTING, "seed": 1}
    text = lgb.train(settings, lgb.Dataset(rows(), np.ones(len(rows())), params=settings), 3).model_to_string().encode()
    assert b"num_leaves=1\n" in text
    validate_model_text(text, features=FEATURES)


def test_thresholds_that_part_everything_from_what_is_missing_are_read():
    target = np.where(np.isnan(rows()[:, 0]), 5.0, 0.0)
    settings = {**BOOSTING, "feature_fraction": 1.0, "seed": 1}
    booster = lgb.train(settings, lgb.Dataset(rows(), target, params=settings), 3)
    text = booster.model_to_string().encode()
    assert b"threshold=inf\n" in text
    np.testing.assert_array_equal(open_booster(text, features=FEATURES).predict(rows()), booster.predict(rows()))


def test_a_model_of_other_features_or_another_number_of_trees_is_refused():
    assert "max_feature_idx=3" in refusal_of(model_text(), features=FEATURES + 1)
    assert "line 6" in refusal_of(model_text(), features=FEATURES - 1)
    with pytest.raises(ModelFileRefused, match="5 trees instead of 6"):
        validate_model_text(model_text(), features=FEATURES, trees=TREES + 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"tree\n", b"tree\naverage_output\n"),
        (b"version=v4", b"version=v3"),
        (b"num_class=1", b"num_class=2"),
        (b"num_tree_per_iteration=1", b"num_tree_per_iteration=0"),
        (b"label_index=0", b"label_index=-1"),
        (b"label_index=0\n", b""),
        (b"objective=regression", b"objective=regression sqrt"),
        (b"objective=regression", b"objective=binary sigmoid:1"),
        (b"objective=regression", b"objective=custom"),
        (b"Column_1 ", b"Column_9 "),
        (b"Column_1 ", b"Column_1  "),
        (b" none\n", b"\n"),
        (b" none\n", b" none none\n"),
        (b" none\n", b" 1:2:3\n"),
        (b" none\n", b" [0:inf]\n"),
        (b" none\n", b" [0:1]\nmonotone_constraints=1 0 0 0\n"),
        (b"\n\nTree=0", b"\nTree=0"),
    ],
)
def test_any_other_header_is_refused_with_its_line(old: bytes, new: bytes):
    assert "booster.txt, line " in refusal_of(changed(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Tree=1\n", b"Tree=2\n"),
        (b"num_cat=0", b"num_cat=1"),
        (b"num_cat=0\n", b""),
        (b"is_linear=0", b"is_linear=1"),
        (b"is_linear=0\n", b"is_linear=0\nleaf_const=0\n"),
        (b"shrinkage=1", b"shrinkage=inf"),
        (b"decision_type=", b"decision_type=1 "),
        (b"split_feature=", b"split_feature=4 "),
        (b"left_child=", b"left_child=1 "),
        (b"leaf_value=", b"leaf_value=0 "),
        (b"leaf_count=", b"leaf_count=0 "),
        (b"threshold=", b"threshold= "),
        (b"internal_count", b"internal_counts"),
        (b"\n\n\nTree=1", b"\n\nTree=1"),
    ],
)
def test_any_other_tree_is_refused_with_its_number_and_line(old: bytes, new: bytes):
    assert "booster.txt, tree " in refusal_of(changed(old, new))


@pytest.mark.parametrize(
    "number",
    [
        "nan",
        "inf",
        "-inf",
        "1e999",
        "1e30",
        "1e+30",
        "1e+300",
        "+1",
        "01",
        "1.",
        ".5",
        "0x1",
        "1_0",
        "1e",
        "--1",
        "1e-999",
        "１",
        "",
    ],
)
def test_numbers_that_lightgbm_would_not_write_are_refused_wherever_they_stand(number: str):
    for name in (
        b"split_gain=",
        *([b"threshold="] if number != "inf" else []),
        b"leaf_value=",
        b"leaf_weight=",
        b"internal_value=",
        b"internal_weight=",
    ):
        text = written(([-1], [-2]))
        at = text.index(name) + len(name)
        end = min(text.index(mark, at) for mark in (b" ", b"\n") if mark in text[at:])
        assert "tree 0" in refusal_of(with_true_sizes(text[:at] + number.encode() + text[end:]))


@pytest.mark.parametrize(
    "number", ["-0", "0", "12.5", "-1.5e-35", "1.0000000180025095e-35", "1e+17", "-1.27875e+06", "12345678901234567"]
)
def test_numbers_as_lightgbm_writes_them_are_read(number: str):
    text = written(([-1], [-2]))
    validate_model_text(changed(b"threshold=0.5", b"threshold=" + number.encode(), text), features=FEATURES)


@pytest.mark.parametrize(
    ("left", "right", "problem"),
    [
        ([0], [-1], "no later node"),
        ([1, 0], [-1, -2], "no later node"),
        ([1, 1], [-1, -2], "no later node"),
        ([2, -1], [-2, -3], "no later node"),
        ([-1, -2], [1, -4], "no later node"),
        ([-1, -2], [1, -(10**8)], "no later node"),
        ([-1], [-1], "two parents"),
        ([1, -1], [-1, -2], "two parents"),
        ([1, -1, -3], [1, -2, -4], "two parents"),
    ],
)
def test_children_that_make_no_binary_tree_are_refused(left: list[int], right: list[int], problem: str):
    whole = ([1, -1], [-2, -3])
    validate_model_text(written(whole, whole), features=FEATURES)
    told = refusal_of(written(whole, (left, right)))
    assert problem in told
    assert "tree 1, line " in told


def test_a_split_by_a_feature_beyond_the_last_is_refused():
    text = with_true_sizes(written(([-1], [-2])).replace(b"split_feature=0", b"split_feature=4"))
    assert "a split by a feature beyond the 4" in refusal_of(text)


def test_a_tree_as_deep_as_any_is_read_and_a_deeper_one_refused():
    deepest = lightgbm_text.DEEPEST
    validate_model_text(written(chain(3), chain(deepest)), features=FEATURES)
    assert f"tree 1, line 31: more than {deepest}" in refusal_of(written(chain(3), chain(deepest + 1), chain(3)))


def test_trees_that_are_too_many_or_have_too_many_leaves_and_texts_too_large_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lightgbm_text, "MOST_LEAVES", 8)
    validate_model_text(written(chain(7)), features=FEATURES)
    assert "with 9 leaves" in refusal_of(written(chain(8)))
    monkeypatch.setattr(lightgbm_text, "MOST_TREES", 2)
    assert "3 trees instead of at most 2" in refusal_of(written(chain(2), chain(2), chain(2)))
    monkeypatch.setattr(lightgbm_text, "LARGEST_BYTES", 100)
    assert "at most 100 are read" in refusal_of(written(chain(2)))


@pytest.mark.parametrize("sizes", [b"1", b"99999999", b"999999999999999", b"-1", b"0", b"", b"18446744073709551615"])
def test_sizes_of_trees_that_are_not_theirs_are_refused(sizes: bytes):
    text = written(chain(2), chain(3))
    at = text.index(b"tree_sizes=") + len(b"tree_sizes=")
    first_end, end = text.index(b" ", at), text.index(b"\n", at)
    assert "booster.txt" in refusal_of(text[:at] + sizes + text[first_end:])
    assert "booster.txt" in refusal_of(text[:first_end] + text[end:])
    assert "tree_sizes states" in refusal_of(text[:at] + b"%d" % (int(text[at:first_end]) + 1) + text[first_end:])


def test_a_list_of_another_length_than_the_tree_is_refused():
    text = with_true_sizes(written(chain(3)).replace(b"threshold=0.5 0.5 0.5", b"threshold=0.5 0.5"))
    assert "threshold has 2 values, not 3" in refusal_of(text)
    text = with_true_sizes(written(chain(3)).replace(b"leaf_value=1 1 1 1", b"leaf_value=1 1 1 1 1"))
    assert "leaf_value has 5 values, not 4" in refusal_of(text)
    text = with_true_sizes(written(chain(3)).replace(b"num_leaves=4", b"num_leaves=1"))
    assert "lists that do not belong to 1 leaves" in refusal_of(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"end of trees", b"end of tree"),
        (b"Column_1=", b"Column_2="),
        (b"Column_1=20", b"Column_1=21"),
        (b"Column_0=18\n", b""),
        (b"\nparameters:\n", b"\nparameters:\n[a: b]\n[a: c]\n"),
        (b"\nparameters:\n", b"\nparameters:\n[machine_list_filename: /etc/passwd]\n"),
        (b"\nparameters:\n", b"\nparameters:\nobjective=custom\n"),
        (b"\nparameters:\n", b"\nparameters:\n[A: b]\n"),
        (b"[skip_drop: 0.5]", b"[skip_drop: nan]"),
        (b"[skip_drop: 0.5]", b"[skip_drop: -]"),
        (b"[skip_drop: 0.5]", b"[skip_drop: 1.]"),
        (b"end of parameters", b"end of parameter"),
        (b"pandas_categorical:null", b"pandas_categorical:[[1]]"),
        (b"pandas_categorical:null\n", b"pandas_categorical:null"),
        (b"pandas_categorical:null\n", b"pandas_categorical:null\n\n"),
    ],
)
def test_anything_else_after_the_trees_is_refused(old: bytes, new: bytes):
    assert "booster.txt, line " in refusal_of(changed(old, new))


def test_more_parameters_than_lightgbm_has_are_refused():
    many = b"".join(b"[p%d: 1]\n" % number for number in range(lightgbm_text.MOST_PARAMETERS + 1))
    assert "one too many" in refusal_of(changed(b"\nparameters:\n", b"\nparameters:\n" + many))


@pytest.mark.parametrize("text", [b"", b"\n", b"tree", b"tree\r\n", b"\xff\xfe", b"{}", b"\x80\x04N.", b"\x00" * 1000])
def test_what_is_no_model_text_at_all_is_refused(text: bytes):
    assert "booster.txt, line 1" in refusal_of(text)


def test_the_refusal_names_the_file_and_shows_no_more_than_the_line_begins_with():
    text = changed(b"num_cat=0", b"\x1b[2J\xff" + b"A" * 5000)
    with pytest.raises(ModelFileRefused) as refused:
        validate_model_text(text, features=FEATURES, part="booster-q10.txt")
    assert "booster-q10.txt, tree 0, line 14" in refused.value.part
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("filling", [b"1" * 40, b"1 ", b"-", b"1e-10", b"0.0", b" "])
def test_lines_made_to_exhaust_the_reader_are_refused_at_once(filling: bytes):
    long = filling * (1024**2 // len(filling))
    texts = [changed(name, name + long) for name in (b"threshold=", b"leaf_value=", b"feature_infos=", b"[seed: ")]
    texts.append(model_text().replace(b"tree_sizes=", b"tree_sizes=" + long))
    started = time.process_time()
    for text in texts:
        refusal_of(text)
    assert time.process_time() - started < 5
