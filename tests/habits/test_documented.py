"""A command, option, route, problem, setting or exit code that is not documented fails here; so does one that is gone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from fastapi import FastAPI

import api.cli
import forecasting.errors  # (its errors count among the subclasses)
from api.error_responses import HTTP, INVALID_REQUEST, PROBLEMS
from api.routes import ROUTERS
from pipeline.settings import Settings
from security.errors import GridwardError
from security.permissions import GRANTS, Permission, Role

DOCS = Path(__file__).parents[2] / "docs"
CLI, API, SETTINGS = (DOCS.joinpath(name).read_text() for name in ("cli.md", "api.md", "settings.md"))


def commands() -> dict[str, set[str]]:
    """Every command as it is typed, with its long options."""

    def walk(command: object, path: str) -> Iterator[tuple[str, set[str]]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            options = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}  # type: ignore[attr-defined]  # typer's vendored command
            yield path, options
            return
        for name, child in inner.items():
            yield from walk(child, f"{path} {name}")

    return dict(walk(typer.main.get_command(api.cli.app), "gridward"))


def routes() -> dict[tuple[str, str], str]:
    """Every (method, path) with its permission, '' for none."""
    app = FastAPI()
    for router in ROUTERS:
        app.include_router(router)
    return {
        (method.upper(), path): facts.get("x-permission", "")
        for path, methods in app.openapi()["paths"].items()
        for method, facts in methods.items()
    }


def exit_codes() -> set[int]:
    def below(cls: type[GridwardError]) -> Iterator[type[GridwardError]]:
        yield cls
        for child in cls.__subclasses__():
            yield from below(child)

    assert forecasting.errors.ForecastingError in set(below(GridwardError))
    return {cls.exit_code for cls in below(GridwardError)} | {0, 1, 2, 130}


@pytest.mark.parametrize("command", commands())
def test_a_command_and_its_options_are_documented(command: str) -> None:
    assert f"`{command}" in CLI

    for option in commands()[command]:
        assert re.search(rf"{option}\b", CLI), option


def test_no_command_is_documented_that_is_gone() -> None:
    named = set(re.findall(r"`(gridward(?: [a-z-]+)+)", CLI))

    assert {name for name in named if not any(name.startswith(known) for known in commands())} == set()


def test_no_option_is_documented_that_is_gone() -> None:
    known = set().union(*commands().values(), {"--help", "--debug"})

    assert set(re.findall(r"--[a-z][a-z-]+", CLI)) <= known


def test_the_exit_codes_are_documented_and_no_other() -> None:
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", CLI, re.MULTILINE)} == exit_codes()


def test_the_routes_are_documented_with_who_may_use_them() -> None:
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in API.splitlines() if re.match(r"\| `[A-Z]+ /", line)
    ]
    documented = {tuple(route.split()): (cells, permission) for route, *cells, permission in rows}

    assert {route: permission for route, (_, permission) in documented.items()} == routes()
    for route, (cells, permission) in documented.items():
        for role, cell in zip((Role.ANALYST, Role.OPERATOR, Role.AUDITOR, Role.ADMIN), cells, strict=True):
            granted = "anyone" if not permission else ("yes" if Permission(permission) in GRANTS[role] else "")
            assert cell == granted, (route, role)


def test_the_problems_are_documented_with_their_status() -> None:
    documented = dict(re.findall(r"^\| `urn:gridward:problem:(\S+)` \| ([\d, ]+) \|", API, re.MULTILINE))

    assert set(documented) == {kind for _, _, kind in PROBLEMS} | {INVALID_REQUEST, HTTP}
    for _, status, kind in PROBLEMS:
        assert documented[kind] == str(int(status))


def shown(default: object) -> str:
    """As it is typed in the environment."""
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_the_settings_are_documented_with_their_defaults() -> None:
    documented = dict(re.findall(r"^\| `GRIDWARD_(\w+)` \| (.+?) \|", SETTINGS, re.MULTILINE))
    actual = {
        name.upper(): "empty" if not str(default) or default is None else f"`{shown(default)}`"
        for name, default in ((name, field.default) for name, field in Settings.model_fields.items())
    }

    assert documented == actual
