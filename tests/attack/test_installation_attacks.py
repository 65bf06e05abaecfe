"""Attacks on what is installed: each wins while its check is off, and loses with it on (AML.T0010.001)."""

from __future__ import annotations

import hashlib
import importlib.util
import py_compile
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.security.small_environment import Environment, build, restore, write_wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Path]:
    folder = tmp_path_factory.mktemp("attacked")
    environment = build(folder / "world")
    shutil.copytree(folder / "world", folder / "kept", symlinks=True)
    return environment, folder / "kept"


@pytest.fixture
def environment(built: tuple[Environment, Path]) -> Iterator[Environment]:
    world, kept = built
    yield world
    restore(world, kept)


def test_a_changed_file_whose_record_was_changed_too_passes_by_record_and_fails_by_wheel(environment: Environment) -> None:
    file = environment.site / "meters" / "__init__.py"
    file.write_text("def read():\n    return 4100\n\ndef main():\n    print(read())\n")
    environment.forge_record("meters", file)

    assert environment.run("import meters; print(meters.read())") == "4100"
    assert environment.found(by_wheels=False) == []
    assert [line.partition("site-packages/")[2] for line in environment.found()] == ["meters/__init__.py: altered"]


def test_a_line_run_at_every_start_and_entered_in_record_passes_by_record_and_fails_by_wheel(
    environment: Environment,
) -> None:
    file = environment.site / "meters-start.pth"
    file.write_text("import sys; sys.meters_owned = True\n")
    environment.forge_record("meters", file)

    assert environment.run("import sys; print(sys.meters_owned)") == "True"
    assert environment.found(by_wheels=False) == []
    assert [line.partition("site-packages/")[2] for line in environment.found()] == [
        "meters-start.pth: unknown: no distribution put it there"
    ]


def test_a_changed_console_script_passes_by_a_changed_record_and_fails_by_wheel(environment: Environment) -> None:
    script = environment.prefix / "bin" / "meters-Read"
    script.write_text(script.read_text().replace("sys.exit(main())", "print('mine'); sys.exit(main())"))
    record = environment.record("meters")
    kept = [line for line in record.read_text().splitlines() if "bin/meters-Read" not in line]
    record.write_text("\n".join([*kept, ""]))

    assert environment.found(by_wheels=False) == []
    assert environment.found() == ["bin/meters-Read: altered"]


def test_a_distribution_that_brings_its_own_record_fails_without_being_pinned(environment: Environment) -> None:
    (environment.site / "helper.py").write_text("")
    info = environment.site / "helper-1.0.dist-info"
    info.mkdir()
    (info / "RECORD").write_text("helper-1.0.dist-info/RECORD,,\n")
    environment.forge_record("helper", environment.site / "helper.py")

    assert environment.found(by_wheels=False) == ["helper-1.0.dist-info: not pinned"]

    digest = hashlib.sha256(b"").hexdigest()
    environment.pins.write_text(environment.pins.read_text() + f"helper==1.0 --hash=sha256:{digest}\n")
    assert environment.found(by_wheels=False) == []
    assert environment.found() == ["helper-1.0.dist-info: its one pinned wheel was not given"]


def test_a_wheel_that_was_exchanged_with_the_files_is_refused_by_its_pinned_digest(environment: Environment) -> None:
    environment.site.joinpath("tariffs.py").write_text("PRICE = 1\n")
    write_wheel(environment.wheels, "tariffs", {"tariffs.py": b"PRICE = 1\n"})

    found = environment.found()
    assert found == ["tariffs-1.0-py3-none-any.whl: this wheel's SHA-256 is not pinned"]

    wheel = environment.wheels / "tariffs-1.0-py3-none-any.whl"
    pins = environment.pins.read_text().split("tariffs==")[0]
    environment.pins.write_text(f"{pins}tariffs==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    environment.forge_record("tariffs", environment.site / "tariffs.py")
    assert [line for line in environment.found() if "tariffs.py" in line] == []


def test_a_wheel_that_is_not_pinned_is_not_even_opened(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    for wheel in environment.wheels.iterdir():
        wheel.write_bytes(wheel.read_bytes() + b" ")

    def opened(*_: object) -> None:
        raise AssertionError("an archive was opened before its digest was known")

    monkeypatch.setattr(zipfile, "ZipFile", opened)
    assert len(environment.found()) == 2


def test_a_planted_compiled_file_runs_instead_of_its_source_and_is_refused_only_where_none_may_be(
    environment: Environment, tmp_path: Path
) -> None:
    source = environment.site / "tariffs.py"
    false = tmp_path / "tariffs.py"
    false.write_text("PRICE = 9\n")
    planted = Path(importlib.util.cache_from_source(str(source)))
    py_compile.compile(
        str(false), cfile=str(planted), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )

    assert environment.run("import tariffs; print(tariffs.PRICE)") == "9"
    assert environment.found() == []
    assert any("tariffs.cpython" in line for line in environment.found(refuse_bytecode=True))


def test_what_is_entered_as_gridwards_own_passes_until_its_wheel_is_pinned_too(environment: Environment) -> None:
    """Why the command says for whom RECORD is believed: Gridward's own wheel is no requirement of its own."""
    info = environment.site / "gridward-1.0.dist-info"
    info.mkdir()
    (info / "RECORD").write_text("gridward-1.0.dist-info/RECORD,,\n")
    start = environment.site / "start.pth"
    start.write_text("import sys; sys.owned = True\n")
    environment.forge_record("gridward", start)

    assert environment.found() == []
    assert environment.examined().from_records == ("gridward",)

    wheel = write_wheel(environment.wheels, "gridward", {"gridward_api.py": b""})
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with environment.pins.open("a") as stream:
        stream.write(f"gridward==1.0 --hash=sha256:{digest}\n")
    assert any("start.pth: unknown" in line for line in environment.found())
