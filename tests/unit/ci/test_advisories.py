"""`make audit` says "none known" only after somebody answered for every package, and "not run" otherwise."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.unit.ci.tools import tool

advisories = tool("advisories")

Answers = Callable[[str, str], dict[str, Any]]
CANARY = ("pyyaml", "5.3")


def vulnerable(name: str, identity: str) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.9"}]}]
    return {"vulns": [{"id": identity, "affected": [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges}]}]}


def knows_the_canary(name: str, version: str) -> dict[str, Any]:
    return vulnerable(name, "CVE-2020-1747") if (name, version) == CANARY else {}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answers], list[str]]]:
    """Starts an advisory service on loopback that pip-audit asks; gives the names it was asked about."""
    servers: list[ThreadingHTTPServer] = []

    def start(answers: Answers) -> list[str]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                query = json.loads(self.rfile.read(int(self.headers["content-length"])))
                asked.append(query["package"]["name"])
                content = json.dumps(answers(query["package"]["name"], query["version"])).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", f"http://127.0.0.1:{server.server_port}/v1/query")
        return asked

    monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
    monkeypatch.setenv("PIP_AUDIT_OSV_URL", "http://127.0.0.1:9/v1/query")
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    digest = "a" * 64
    path = tmp_path / "run.txt"
    path.write_text(
        f"meters==1.0 --hash=sha256:{digest}\nTariff_s==2.0 --hash=sha256:{digest}\n"
        f"elsewhere==1.0 ; sys_platform == 'nowhere' --hash=sha256:{digest}\n"
    )
    return path


def run(pins: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    code = advisories.main([*options, str(pins)])
    return code, capsys.readouterr().out


def test_none_is_known_after_a_service_that_knows_something_answered_for_every_package(
    serve: Callable[[Answers], list[str]], pins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = serve(knows_the_canary)

    assert run(pins, capsys, "--release") == (
        0,
        f"audit of {pins}: no known vulnerability in 2 packages, each answered for\n",
    )
    assert sorted(asked) == ["meters", "pyyaml", "tariff-s"]


def test_a_vulnerability_is_named_with_what_mends_it_and_fails(
    serve: Callable[[Answers], list[str]], pins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(lambda name, version: vulnerable(name, "X-1") if name == "meters" else knows_the_canary(name, version))

    assert run(pins, capsys) == (1, f"audit of {pins}: meters 1.0: X-1, mended in 9.9\n")


@pytest.mark.usefixtures("serve")
@pytest.mark.parametrize(("options", "code"), [((), 0), (("--release",), 5)])
def test_without_a_service_the_audit_was_not_run_which_fails_a_release_only(
    pins: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    code: int,
) -> None:
    left, said = run(pins, capsys, *options)

    assert left == code
    assert said.startswith(f"audit of {pins}: not run: ")
    assert "Connection refused" in said
    assert "no known" not in said


def test_a_service_that_answers_everything_with_nothing_is_not_believed(
    serve: Callable[[Answers], list[str]], pins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(lambda *_: {})

    left, said = run(pins, capsys, "--release")
    assert left == 5
    assert "not run: the advisory service does not know what everybody knows" in said


def fake(folder: Path, *, dependencies: list[dict[str, Any]]) -> list[str]:
    """A pip-audit that knows the canary and answers as told about anything else."""
    canary = [{"name": "pyyaml", "version": "5.3", "vulns": [{"id": "CVE-2020-1747", "fix_versions": []}]}]
    script = folder / "fake.py"
    script.write_text(
        "import json, sys\n"
        f"found = {canary!r} if sys.argv[-1].endswith('canary.txt') else {dependencies!r}\n"
        "print(json.dumps({'dependencies': found}))\n"
    )
    return [sys.executable, str(script)]


def package(name: str, version: str) -> dict[str, Any]:
    return {"name": name, "version": version, "vulns": []}


@pytest.mark.parametrize(
    "answered",
    [[], [package("meters", "1.0")], [package("meters", "1.0"), package("tariff-s", "2.1")], [{"name": "meters"}]],
)
def test_an_answer_that_leaves_a_package_out_is_no_answer(
    pins: Path, tmp_path: Path, answered: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """What pip-audit alone calls "No known vulnerabilities found": it asked about nothing, and left with 0."""
    code = advisories.main([str(pins), "--release"], fake(tmp_path, dependencies=answered))

    assert code == 5
    assert "not run: " in capsys.readouterr().out


def test_a_tool_that_is_not_there_asked_nobody(pins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert advisories.main([str(pins)], [str(tmp_path / "none")]) == 0
    assert "not run: pip-audit: " in capsys.readouterr().out
