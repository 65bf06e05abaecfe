"""Of an environment held against its wheels, no byte can change, and no file can come or go, without a finding."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from security.pins import read_pins
from tests.unit.security.small_environment import Environment, build


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    built = build(tmp_path_factory.mktemp("installed"))
    for compiled in built.site.rglob("__pycache__"):
        shutil.rmtree(compiled)
    return built


def compared(environment: Environment) -> list[Path]:
    """Every installed file that a wheel, or an entry point in one, decides on."""
    names = ("bin/meters-Read", "bin/meters-run", "share/meters/note.txt")
    own = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"}
    inside = [path for path in environment.site.rglob("*") if path.is_file()]
    return sorted(
        [environment.prefix / name for name in names]
        + [path for path in inside if path.name not in own or "vendored" in path.parts]
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_a_cut_or_an_addition_is_found_and_nothing_else_is(
    environment: Environment, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(compared(environment)))
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    changed = data.draw(
        st.sampled_from([content[:at], content + b"\0", content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]])
    )
    path.write_bytes(changed)
    try:
        assert environment.found() == [f"{path.relative_to(environment.prefix)}: altered"]
    finally:
        path.write_bytes(content)
    assert environment.found() == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.from_regex(r"\A[a-z_]{1,12}\.(py|so|pth|pyc|txt)\Z"), folder=st.sampled_from(["", "meters", "new"]))
def test_a_file_that_came_is_found_wherever_it_lies(environment: Environment, name: str, folder: str) -> None:
    path = environment.site / folder / name
    if path in compared(environment):
        return
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    try:
        assert environment.found() == [f"{path.relative_to(environment.prefix)}: unknown: no distribution put it there"]
    finally:
        path.unlink()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pins=st.lists(
        st.tuples(
            st.from_regex(r"\A[a-z][a-z0-9]{0,8}\Z"),
            st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,3}){0,2}\Z"),
            st.sets(st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}"), min_size=1, max_size=3),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_pins_are_read_as_they_were_written(tmp_path: Path, pins: list[tuple[str, str, set[str]]]) -> None:
    path = tmp_path / "pins.txt"
    path.write_text(
        "".join(
            f"{name}=={version} \\\n    " + " \\\n    ".join(f"--hash=sha256:{one}" for one in hashes) + "\n"
            for name, version, hashes in pins
        )
    )

    assert [(pin.name, pin.version, set(pin.sha256s)) for pin in read_pins(path)] == pins
