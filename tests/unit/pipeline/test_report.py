"""The page and the picture, written from a real run's content thinned out (`tests/fixtures/case_study_thinned.json`)."""

from __future__ import annotations

import copy
import json
import re
import struct
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline.case_study import report

CONTENT = json.loads((Path(__file__).parents[2] / "fixtures" / "case_study_thinned.json").read_text("utf-8"))
VOID = {"meta", "br", "link", "img", "hr", "input"}


@pytest.fixture
def content() -> dict[str, Any]:
    return copy.deepcopy(CONTENT)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(CONTENT, tmp_path_factory.mktemp("page"))


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of words and tables: drawing takes a second."""
    monkeypatch.setattr(report, "_figures", lambda _: dict.fromkeys(report._HEIGHTS, ("", "")))


def written(content: dict[str, Any], folder: Path) -> str:
    path = folder / "report.html"
    report.write_report(content, path)
    return path.read_text("utf-8")


class Reader(HTMLParser):
    """Text, ids and every attribute of a page; raises when an element is closed that is not open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    assert "://" not in page
    assert not re.search(r"url\((?!#)|@import|<script|<img|<link|<iframe", page)
    outward = [item for item in Reader(page).attributes if item[1] in ("src", "srcset", "data")]
    assert not outward
    assert all(value.startswith("#") for _, name, value in Reader(page).attributes if name == "href")


def test_the_page_is_well_formed_and_no_id_is_given_twice(page: str) -> None:
    reader = Reader(page)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))


def test_every_reference_inside_the_page_leads_somewhere(page: str) -> None:
    reader = Reader(page)
    wanted = set(re.findall(r"url\(#([^)]+)\)", page)) | {
        value[1:] for _, name, value in reader.attributes if name == "href"
    }
    assert wanted <= set(reader.ids)


def test_every_colour_variable_of_the_figures_is_defined_by_the_page(page: str) -> None:
    defined = set(re.findall(r"(--[a-z]+):", page))
    assert set(re.findall(r"var\((--[a-z]+)\)", page)) <= defined


def test_the_page_is_small_enough_to_mail(page: str) -> None:
    assert len(page.encode()) < 1_500_000


def test_equal_content_makes_an_equal_page_and_stays_as_it_was(page: str, content: dict[str, Any], tmp_path: Path) -> None:
    assert written(content, tmp_path) == page
    assert content == CONTENT


def test_the_headline_speaks_in_figures_of_the_content(content: dict[str, Any]) -> None:
    late = content["windows"]["last three attacked months"]
    late["undefended"]["mild_bias_percent"] = 12.34
    late["defended"]["mild_bias_percent"], late["clean"]["mild_bias_percent"] = 1.5, 1.25
    content["timeline"]["undefended"] |= {"compromise": "2014-03-01", "suspicion": "2014-03-31", "recovery": "2014-04-10"}
    content["timeline"]["defended"] |= {"compromise": "2014-03-01", "quarantine": "2014-03-08"}
    damage, defence = report.headline(content)
    assert "overestimate" in damage
    assert "by 12.3 %" in damage
    assert "30 days to suspect and 40 to recover" in damage
    assert "quarantined after 7 days" in defence
    assert "0.250 points from clean" in defence


def test_the_headline_admits_that_nobody_noticed(content: dict[str, Any]) -> None:
    content["windows"]["last three attacked months"]["undefended"]["mild_bias_percent"] = -1.0
    content["timeline"]["undefended"] |= dict.fromkeys(("suspicion", "attribution", "quarantine", "recovery"))
    content["timeline"]["defended"] |= dict.fromkeys(("suspicion", "attribution", "quarantine"))
    damage, defence = report.headline(content)
    assert "underestimate demand in mild weather by 1.0 %" in damage
    assert "nobody suspected it and the utility did not recover." in damage
    assert "never quarantined" in defence


def test_a_story_without_a_discovery_can_be_written(content: dict[str, Any], tmp_path: Path) -> None:
    for events in content["timeline"].values():
        events.update(dict.fromkeys(("suspicion", "attribution", "quarantine", "recovery")))
    for world in ("clean", "undefended", "defended"):
        content["detector"][world]["alarm"] = None
    content["months"]["clean"]["2013-06"]["mild_bias_percent"] = None
    del content["timings_seconds"]
    for facts in content["touched"].values():
        del facts["direct_forecasts"]
    text = Reader(written(content, tmp_path)).text
    assert "Where the time went" not in text
    assert "forecasts from its own values" not in text
    assert "nobody suspected it" in text
    assert "undefended never never never never defended never never never none needed" in text


@pytest.mark.usefixtures("no_figures")
def test_a_claim_that_fails_is_said_at_the_top_and_marked_in_the_table(content: dict[str, Any], tmp_path: Path) -> None:
    content["bounds"][2] |= {"holds": False, "value": 3.21}
    text = Reader(written(content, tmp_path)).text
    assert f"1 of {len(content['bounds'])} claims of this report does not hold" in text
    assert re.search(r"3\.21 < 2\.0 ✗ no", text)


def test_when_all_claims_hold_no_failure_is_shown(page: str) -> None:
    text = Reader(page).text
    assert f"All {len(CONTENT['bounds'])} claims of this report hold" in text
    assert "✗" not in text


@pytest.mark.usefixtures("no_figures")
def test_an_answer_other_than_wanted_is_marked(content: dict[str, Any], tmp_path: Path) -> None:
    content["service"][1]["status"] = 200
    assert "403 200 ✗ no" in Reader(written(content, tmp_path)).text


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    "place",
    [
        ("attack", "provider"),
        ("events", "defended", 0, "provider"),
        ("events", "defended", 0, "reason"),
        ("touched", "defended", "provider"),
        ("touched", "defended", "forecasts", 0),
        ("service", 0, "answer", "weather"),
        ("service", 0, "request"),
        ("assumptions", 0),
    ],
)
def test_markup_in_names_from_outside_comes_out_as_text(
    content: dict[str, Any], tmp_path: Path, place: tuple[str | int, ...]
) -> None:
    at: Any = content
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = "<script>alert('x')</script>"
    page = written(content, tmp_path)
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page


def test_every_touched_id_is_listed_and_counted(page: str) -> None:
    text = Reader(page).text
    for facts in CONTENT["touched"].values():
        for kind in ("snapshots", "models", "forecasts", "direct_forecasts"):
            assert all(identifier in text for identifier in facts[kind])


def test_every_exchange_event_assumption_and_timing_is_told(page: str) -> None:
    text = Reader(page.replace("&#39;", "'")).text
    told = [exchange["act"] for exchange in CONTENT["service"]] + CONTENT["assumptions"] + list(CONTENT["timings_seconds"])
    told += [event["reason"] for events in CONTENT["events"].values() for event in events]
    told += [CONTENT["dataset"]["sha256"], CONTENT["cost"]["assumption"], "Jan 2013", "Dec 2014"]
    assert [sentence for sentence in told if sentence not in text] == []


def test_the_picture_is_a_png_of_1600_by_900(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    report.write_picture(CONTENT, path)
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24]) == (1600, 900)


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(1234567.8, 0, "1\u202f234\u202f568"), (-0.5, 1, "−0.5"), (None, 2, "–"), (0.0, 1, "0.0"), (-0.04, 1, "0.0")],
)
def test_numbers_have_narrow_spaces_a_true_minus_and_no_negative_zero(value: float | None, digits: int, shown: str) -> None:
    assert report.number(value, digits) == shown


@pytest.mark.parametrize(("value", "shown"), [(1.25, "+1.2"), (-1.0, "−1.0"), (0.01, "0.0"), (None, "–")])
def test_signed_numbers_show_a_sign_unless_they_are_nothing(value: float | None, shown: str) -> None:
    assert report.signed(value) == shown


@pytest.mark.parametrize(
    ("iso", "shown"),
    [("2014-09-04", "4 Sep 2014"), ("2014-09", "Sep 2014"), ("2014-04-08T14:00:00Z", "8 Apr 2014"), (None, "–")],
)
def test_days_are_written_out(iso: str | None, shown: str) -> None:
    assert report.day(iso) == shown
