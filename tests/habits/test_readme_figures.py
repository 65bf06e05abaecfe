"""A figure in the README is one that its command still prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.ablations import ABLATIONS
from benchmarks.accuracy import MAKERS
from benchmarks.yardstick import WEATHERS, evaluate
from data.datasets import EmbeddedDataset

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FORECASTING = (ROOT / "docs" / "forecasting.md").read_text()


def quoted(forecaster: str, regime: str) -> list[float]:
    row = re.search(rf"^\| {re.escape(forecaster)} \| {regime} \| (.+) \|$", README, re.MULTILINE)
    assert row is not None, f"the README has no row for {forecaster} in weather {regime}"
    return [float(cell) for cell in row[1].split("|")]


@pytest.mark.parametrize(
    ("forecaster", "weathers"), [("seasonal naive", ("A",)), ("linear alone", ("A",)), ("ensemble", WEATHERS)]
)
def test_the_accuracy_table_is_what_the_benchmark_finds(
    forecaster: str, weathers: tuple[str, ...], victoria: EmbeddedDataset
) -> None:
    for regime, found in evaluate(MAKERS[forecaster], victoria, 2014, weathers).items():
        mape, pinball, cover, *_ = quoted(forecaster, regime)
        assert found["mape_percent"] == pytest.approx(mape, abs=0.02)
        assert found["pinball_mw"] == pytest.approx(pinball, abs=0.5)
        assert found["cover_80_percent"] == pytest.approx(cover, abs=0.5)


def test_every_ablation_that_is_documented_is_a_command_and_every_command_is_documented() -> None:
    asked_for = set(re.findall(r"--only ([a-z0-9-]+)", FORECASTING))
    in_table = set(re.findall(r"^\| `([a-z0-9-]+)` \| [AB] \|", FORECASTING, re.MULTILINE))
    assert asked_for <= set(ABLATIONS)
    assert in_table == set(ABLATIONS)


def test_the_readme_fits_one_screen_of_sections_and_its_links_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    assert README.count("\n") < 90


def test_every_make_target_is_listed_by_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    for target in phony[1].split():
        assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE), target
