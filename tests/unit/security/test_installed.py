"""What is installed is held against its wheels: each file, none missing, none added."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from security.errors import UnavailableError
from tests.unit.security.small_environment import Environment, build, restore, write_wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Path]:
    folder = tmp_path_factory.mktemp("installed")
    environment = build(folder / "world")
    kept = folder / "kept"
    shutil.copytree(folder / "world", kept, symlinks=True)
    return environment, kept


@pytest.fixture
def environment(built: tuple[Environment, Path]) -> Iterator[Environment]:
    world, kept = built
    yield world
    restore(world, kept)


@pytest.mark.parametrize("by_wheels", [True, False])
def test_what_pip_installed_holds(environment: Environment, by_wheels: bool) -> None:
    found = environment.examined(by_wheels)

    assert found.findings == ()
    assert found.files >= 10
    assert found.bytecode == 2
    assert (found.from_wheels, found.from_records) == (
        (("meters", "tariffs"), ()) if by_wheels else ((), ("meters", "tariffs"))
    )


@pytest.mark.parametrize("by_wheels", [True, False])
@pytest.mark.parametrize(
    "name",
    ["meters/__init__.py", "tariffs.py", "meters-1.0.dist-info/METADATA", "meters/vendored/other-2.0.dist-info/RECORD"],
)
def test_an_altered_file_is_found(environment: Environment, name: str, by_wheels: bool) -> None:
    with (environment.site / name).open("ab") as stream:
        stream.write(b" ")

    assert environment.found(by_wheels) == [f"lib/{environment.site.parent.name}/site-packages/{name}: altered"]


@pytest.mark.parametrize("by_wheels", [True, False])
@pytest.mark.parametrize("name", ["bin/meters-Read", "bin/meters-run", "share/meters/note.txt"])
def test_an_altered_file_outside_site_packages_is_found(environment: Environment, name: str, by_wheels: bool) -> None:
    (environment.prefix / name).write_bytes(b"import os\n")

    assert environment.found(by_wheels) == [f"{name}: altered"]


@pytest.mark.parametrize("by_wheels", [True, False])
def test_a_missing_file_is_found(environment: Environment, by_wheels: bool) -> None:
    (environment.site / "tariffs.py").unlink()

    assert [line.partition("site-packages/")[2] for line in environment.found(by_wheels)] == ["tariffs.py: missing"]


@pytest.mark.parametrize("by_wheels", [True, False])
@pytest.mark.parametrize(
    "name", ["sitecustomize.py", "zz.pth", "meters/extra.py", "meters/extra.pyc", "__pycache__/gone.cpython-311.pyc"]
)
def test_an_added_file_is_found(environment: Environment, name: str, by_wheels: bool) -> None:
    (environment.site / name).write_bytes(b"")

    assert [line.partition("site-packages/")[2] for line in environment.found(by_wheels)] == [
        f"{name}: unknown: no distribution put it there"
    ]


@pytest.mark.parametrize("by_wheels", [True, False])
def test_a_link_in_place_of_a_file_is_found_though_its_target_is_equal(environment: Environment, by_wheels: bool) -> None:
    file = environment.site / "tariffs.py"
    elsewhere = environment.prefix.parent / "elsewhere.py"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)

    assert [line.rpartition("/")[2] for line in environment.found(by_wheels)] == ["tariffs.py: symlink"]


def test_a_linked_folder_is_found_and_not_followed(environment: Environment) -> None:
    outside = environment.prefix.parent / "outside"
    outside.mkdir()
    (outside / "a.py").write_text("")
    (environment.site / "extra").symlink_to(outside, target_is_directory=True)

    assert [line.rpartition("/")[2] for line in environment.found()] == ["extra: unknown: no distribution put it there"]


def test_a_distribution_that_is_not_pinned_is_found(environment: Environment) -> None:
    environment.pins.write_text(environment.pins.read_text().split("tariffs")[0])

    assert "tariffs-1.0.dist-info: not pinned" in environment.found()


def test_another_version_than_the_pinned_is_found(environment: Environment) -> None:
    environment.pins.write_text(environment.pins.read_text().replace("tariffs==1.0", "tariffs==1.1"))

    assert "tariffs-1.0.dist-info: pinned is 1.1" in environment.found()


def test_a_pinned_distribution_that_is_missing_is_found_unless_it_is_for_another_platform(environment: Environment) -> None:
    digest = "a" * 64
    with environment.pins.open("a") as stream:
        stream.write(f"gone==1 --hash=sha256:{digest}\nwindows==1 ; sys_platform == 'win32' --hash=sha256:{digest}\n")

    assert environment.found() == ["gone: pinned, and not installed"]


def test_a_wheel_that_was_not_given_is_one_finding(environment: Environment) -> None:
    (environment.wheels / "meters-1.0-py3-none-any.whl").unlink()

    assert environment.found() == ["meters-1.0.dist-info: its one pinned wheel was not given"]


def test_a_record_that_leads_outside_is_refused(environment: Environment) -> None:
    with environment.record("tariffs").open("a") as stream:
        stream.write("../../../../outside.py,,\n")

    assert (
        "tariffs-1.0.dist-info: RECORD lists ../../../../outside.py, which is outside the environment"
        in environment.found(by_wheels=False)
    )


@pytest.mark.parametrize("record", ["", None, "tariffs.py,md5=abc,1\n", "tariffs.py,sha256=!,1\n", "one cell\n", "\xff"])
def test_a_record_that_says_nothing_usable_is_a_finding(environment: Environment, record: str | None) -> None:
    path = environment.record("tariffs")
    path.unlink()
    if record is not None:
        path.write_bytes(record.encode("latin-1"))

    assert any("tariffs" in line for line in environment.found(by_wheels=False))


def test_a_digest_in_hex_is_read_too_as_some_builders_write_it(environment: Environment) -> None:
    hexed = hashlib.sha256((environment.site / "tariffs.py").read_bytes()).hexdigest()
    lines = environment.record("tariffs").read_text().splitlines()
    environment.record("tariffs").write_text(
        "\n".join(f"tariffs.py,sha256={hexed},10" if line.startswith("tariffs.py") else line for line in lines)
    )

    assert environment.found(by_wheels=False) == []


def test_an_environment_or_a_folder_that_is_not_there_is_missed_in_one_line(environment: Environment) -> None:
    shutil.rmtree(environment.wheels)
    with pytest.raises(UnavailableError, match="there is no such folder"):
        environment.examined()
    shutil.rmtree(environment.site)
    with pytest.raises(UnavailableError, match="site-packages"):
        environment.examined(by_wheels=False)


def test_two_wheels_of_one_pin_leave_it_open_which_is_meant(environment: Environment) -> None:
    write_wheel(environment.wheels, "Tariffs", {"tariffs.py": b"PRICE = 8\n"})

    assert environment.found() == ["tariffs-1.0.dist-info: its one pinned wheel was not given"]


def test_a_distribution_that_is_there_twice_is_found(environment: Environment) -> None:
    info = environment.site / "tariffs-1.0.dist-info"
    shutil.copytree(info, info.with_name("Tariffs-1.0.dist-info"))

    assert any("installed twice" in line for line in environment.found())


def test_a_pinned_file_that_is_no_wheel_is_a_finding(environment: Environment) -> None:
    wheel = environment.wheels / "tariffs-1.0-py3-none-any.whl"
    wheel.write_bytes(b"no archive")
    pins = environment.pins.read_text().split("tariffs==")[0]
    digest = hashlib.sha256(b"no archive").hexdigest()
    environment.pins.write_text(f"{pins}tariffs==1.0 --hash=sha256:{digest}\n")

    assert environment.found() == ["tariffs-1.0.dist-info: a pinned file is no wheel"]
