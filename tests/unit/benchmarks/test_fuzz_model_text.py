"""The fuzzer spoils what it says, tells what became of it, and fails where something got through."""

from __future__ import annotations

import random
import re
import sys
from collections import Counter

import pytest

from benchmarks import fuzz_model_text
from benchmarks.fuzz_model_text import ABORTED, HUNG, REFUSED, SAME, Counted, Original, answer_of, bad, fuzzed, table
from benchmarks.model_text_mutants import MUTATIONS, mutant, with_true_sizes
from benchmarks.yardstick import alone
from forecasting.errors import ModelFileRefused
from forecasting.lightgbm_text import validate_model_text
from tests.unit.forecasting.small_model_text import FEATURES, model_text


def sizes_in(text: bytes) -> bytes:
    return text.split(b"\ntree_sizes=")[1].split(b"\n")[0]


@pytest.mark.parametrize("kind", MUTATIONS)
def test_the_same_chance_spoils_a_text_the_same_way_and_nearly_always_does(kind: str):
    texts = [mutant(model_text(), kind, random.Random(seed)) for seed in range(20)]  # noqa: S311 (mutations, no secrets)
    assert texts == [mutant(model_text(), kind, random.Random(seed)) for seed in range(20)]  # noqa: S311 (as above)
    assert sum(text != model_text() for text in texts) > 10


def test_true_sizes_are_those_that_lightgbm_wrote():
    assert with_true_sizes(model_text()) == model_text()
    lied = re.sub(rb"tree_sizes=[\d ]+", b"tree_sizes=1 2 3 4 5", model_text())
    assert sizes_in(lied) == b"1 2 3 4 5"
    assert with_true_sizes(lied) == model_text()
    for text in (b"", b"\nTree=0\n", model_text().replace(b"tree_sizes", b"sizes"), model_text()[:600]):
        assert with_true_sizes(text) == text


def test_a_short_run_crashes_lightgbm_alone_and_nothing_behind_the_validator():
    original = Original(model_text(), FEATURES, answer_of(model_text(), FEATURES))
    counted = alone(fuzzed, {"booster.txt": original}, 8 * len(MUTATIONS), 4 * len(MUTATIONS), 1)
    assert counted.keys() == MUTATIONS.keys()
    assert sum(bad(counts.validated) for counts in counted.values()) == 0
    assert sum(bad(counts.alone) for counts in counted.values()) > 10
    assert sum(counts.validated[REFUSED] for counts in counted.values()) > 4 * len(MUTATIONS)
    assert len(table(counted).splitlines()) == len(MUTATIONS) + 3


def told_by(counts: Counted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[str, object]:
    monkeypatch.setattr(fuzz_model_text, "alone", lambda _: {})
    monkeypatch.setattr(fuzz_model_text, "fuzzed", lambda *_: {"bit flipped": counts})
    monkeypatch.setattr(sys, "argv", ["fuzz_model_text"])
    code: object = 0
    try:
        fuzz_model_text.main()
    except SystemExit as ended:
        code = ended.code
    return capsys.readouterr().out, code


def test_a_run_fails_exactly_where_something_crashed_or_hung_behind_the_validator(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    clean = Counted(Counter({REFUSED: 7, SAME: 1}), Counter({ABORTED: 3}))
    told, code = told_by(clean, monkeypatch, capsys)
    assert code == 0
    assert "| bit flipped | 8 | 7 | 1 | 0 | 0 | 0 | 3 | 0 | 0 | 0 | 3 | 0 | 0 |" in told
    told, code = told_by(Counted(Counter({REFUSED: 7, HUNG: 1}), Counter()), monkeypatch, capsys)
    assert code == 6
    assert "1 crashes or hangs behind the validator" in told


def test_a_validator_that_fails_otherwise_than_by_refusing_counts_as_a_crash(monkeypatch: pytest.MonkeyPatch):
    original = Original(b"tree\n", FEATURES, "")
    with pytest.raises(ModelFileRefused):
        validate_model_text(original.text, features=FEATURES)
    assert fuzz_model_text.outcomes([original.text], original, True) == [REFUSED]

    def fails(*_: object, **__: object) -> None:
        raise IndexError

    monkeypatch.setattr(fuzz_model_text, "validate_model_text", fails)
    assert fuzz_model_text.outcomes([original.text], original, True) == [ABORTED]
