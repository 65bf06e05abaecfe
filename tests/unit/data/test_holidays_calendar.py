"""Holidays and zones by name: the known ones are found, the unknown ones refused with what is near."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from data.errors import DataError, FileRefused
from data.holidays_calendar import holidays_for, zone_named

FIRST, LAST = date(2013, 1, 1), date(2014, 12, 31)


def test_none_means_no_holidays() -> None:
    assert holidays_for("none", FIRST, LAST) == frozenset()


def test_a_country_and_its_subdivision_are_known_by_code() -> None:
    assert date(2013, 12, 25) in holidays_for("DE", FIRST, LAST)
    cup_day = date(2013, 11, 5)
    assert cup_day in holidays_for("AU-VIC", FIRST, LAST)
    assert cup_day not in holidays_for("AU", FIRST, LAST)


def test_only_days_from_first_to_last_are_given() -> None:
    christmas = date(2013, 12, 25)
    assert holidays_for("DE", christmas, christmas) == {christmas}


def test_a_file_holds_one_date_a_line_with_comments_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "days.txt"
    path.write_text("\ufeff# ours\n\n2013-05-01 # labour day\n2014-05-01\n2020-05-01\n", encoding="utf-8")
    assert holidays_for(str(path), FIRST, LAST) == {date(2013, 5, 1), date(2014, 5, 1)}


def test_a_file_without_a_suffix_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "days").write_text("2013-05-01\n")
    monkeypatch.chdir(tmp_path)
    assert holidays_for("days", FIRST, LAST) == {date(2013, 5, 1)}


def test_the_documents_example_is_taken_in(tmp_path: Path) -> None:
    contract = (Path(__file__).parents[3] / "docs" / "data-contract.md").read_text(encoding="utf-8")
    block = re.search(r"```text holidays.txt\n(.*?)```", contract, re.DOTALL)
    assert block
    path = tmp_path / "holidays.txt"
    path.write_text(block.group(1))
    assert holidays_for(str(path), FIRST, LAST) == {date(2014, 1, 27), date(2014, 3, 10)}


def test_a_bad_line_is_refused_with_file_and_row(tmp_path: Path) -> None:
    path = tmp_path / "days.txt"
    path.write_text("2013-05-01\n01/05/2014\n")
    with pytest.raises(FileRefused, match=r"days.txt, row 2: '01/05/2014' is not a date — write") as refused:
        holidays_for(str(path), FIRST, LAST)
    assert refused.value.row == 2


@pytest.mark.parametrize(
    ("spec", "phrase"),
    [
        ("XX", "no country or file 'XX'"),
        ("au-vic", "near it: AU"),
        ("AU-VC", "AU has no subdivision 'VC' — give AU alone; near it: VIC"),
        ("AU-", "AU has no subdivision ''"),
        ("SG-X", "SG has no subdivision 'X' — give SG alone"),
        ("./none.txt", "no such file"),
        ("", "no country or file ''"),
    ],
)
def test_an_unknown_name_is_refused_with_what_is_near(spec: str, phrase: str) -> None:
    with pytest.raises(DataError, match=re.escape(phrase)) as refused:
        holidays_for(spec, FIRST, LAST)
    assert "\n" not in str(refused.value)


def test_a_zone_by_its_iana_name_is_itself() -> None:
    assert zone_named("Australia/Melbourne") == "Australia/Melbourne"


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("europe/berlin", "did you mean Europe/Berlin"),
        ("Berlin", "did you mean Europe/Berlin"),
        ("Australia/Melborne", "did you mean Australia/Melbourne"),
        ("qqqqqqqq", "give a name such as"),
        ("../../etc/passwd", "no time zone '../../etc/passwd'"),
        ("", "no time zone ''"),
        ("a\x1b[31m\n", r"'a\x1b[31m\n'"),
    ],
)
def test_an_unknown_zone_is_refused_with_the_nearest_names(name: str, phrase: str) -> None:
    with pytest.raises(DataError, match=re.escape(phrase)) as refused:
        zone_named(name)
    assert str(refused.value).isprintable()
