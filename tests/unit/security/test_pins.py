"""A file of pins leaves nothing to be chosen later."""

from __future__ import annotations

from pathlib import Path

import pytest

from security.errors import IntegrityError, UnavailableError
from security.pins import Pin, normalised, read_pins

RUN = Path(__file__).parents[3] / "requirements" / "run.txt"
A, B = "a" * 64, "b" * 64


def pins_of(folder: Path, text: str) -> tuple[Pin, ...]:
    path = folder / "pins.txt"
    path.write_text(text)
    return read_pins(path)


def test_a_pin_is_a_name_a_version_its_hashes_and_where_it_is_meant_for(tmp_path: Path) -> None:
    text = (
        f"# made by make lock\nPy_YAML==6.0 ; python_version < '3.12' \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\n"
        f"x==1 --hash=sha256:{A}\n"
    )

    assert pins_of(tmp_path, text) == (
        Pin("py-yaml", "6.0", frozenset({A, B}), "python_version < '3.12'"),
        Pin("x", "1", frozenset({A})),
    )


@pytest.mark.parametrize(
    "line",
    [
        "x==1",
        f"x>=1 --hash=sha256:{A}",
        f"x==1 --hash=md5:{A[:32]}",
        f"x==1 --hash=sha256:{A[:-1]}",
        f"x @ file:///x.whl --hash=sha256:{A}",
        "-e .",
        "x==1 \\",
        "--extra-index-url file:///elsewhere",
        f"x==1 --hash=sha256:{A} --config-settings=a=b",
    ],
)
def test_a_line_that_pins_nothing_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    with pytest.raises(IntegrityError, match=r"pins\.txt:3: this is no pin"):
        pins_of(tmp_path, f"# one\nx==1 --hash=sha256:{A}\n{line}\n")


def test_a_file_that_pins_nothing_is_no_file_of_pins(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="nothing is pinned"):
        pins_of(tmp_path, "# empty\n\n")


def test_pins_that_are_not_there_are_missed_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be read"):
        read_pins(tmp_path / "none.txt")


def test_names_are_compared_as_the_index_compares_them() -> None:
    assert normalised("Zope.Interface__x") == normalised("zope-interface-x") == "zope-interface-x"


def test_our_own_requirements_are_pins_and_nothing_else() -> None:
    pins = read_pins(RUN)

    assert len(pins) == sum("==" in line and not line.startswith(("#", " ")) for line in RUN.read_text().splitlines())
    assert all(pin.sha256s for pin in pins)
