"""The service under 20,000 hostile requests: `python -m benchmarks.api_fuzz [--requests 20000] [--seed 1] [--json FILE]`.

Three sources: schemathesis with all of its checks, once for every role and once without a token; malformed HTTP over a
socket; and for the rest a grammar fuzzer (`api_grammar`) that twists right requests for every route of the OpenAPI document.
Every answer passes the watch (`api_watch`): no 5xx, no trace, place or secret, every failure a documented problem, every
answer with an X-Request-Id and, below /v1, an entry in the audit log. 503 with Retry-After is a gate that closed: counted
apart, and none is expected, because every store is there. Each part works on a fresh copy of a small station. Exit 6 if
anything was found. Ten minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from api.logs import log_to_stderr
from benchmarks.api_asked import asked
from benchmarks.api_callers import UnderFuzz, under_fuzz
from benchmarks.api_conformance import Newcomers, conformance, served
from benchmarks.api_grammar import KINDS, Grammar
from benchmarks.api_watch import Finding
from benchmarks.api_wire import sent
from security.identity import Role
from security.permissions import GRANTS
from tests.unit.api.small_station import build

ROUND = 2000
TOGETHER = 8
CALLERS: tuple[Role | None, ...] = (None, *Role)
CLOSED = 503
# Of so many twisted requests the caller is one who may make them; of the others it is anybody.
MAY_ASK = 0.6
COUNTED = ("sources", "statuses", "routes", "rules")


@dataclass
class Report:
    """What came of everything. sources: requests by who made them; routes: by who answered; twists: by kind and status."""

    sources: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    routes: Counter[str] = field(default_factory=Counter)
    twists: dict[str, Counter[int]] = field(default_factory=dict)
    rules: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def asked(self) -> int:
        """How many requests came to the application."""
        return sum(self.statuses.values())

    def told(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        counted = {name: {str(key): count for key, count in getattr(self, name).items()} for name in COUNTED}
        twists = {kind: {str(status): count for status, count in came.items()} for kind, came in self.twists.items()}
        findings = [asdict(finding) for finding in self.findings]
        return {"asked": self.asked, "seconds": self.seconds, **counted, "twists": twists, "findings": findings}

    def add(self, findings: list[Finding]) -> None:
        """Enter what a part found beside the watch."""
        self.rules.update(finding.rule for finding in findings)
        self.findings += findings


class Fuzz:
    """Parts of the fuzz, each on its own copy of the station at `built`, below `folder`."""

    def __init__(self, built: Path, folder: Path, seed: int) -> None:
        self.report = Report()
        self._built = built
        self._folder = folder
        self._seed = seed
        self._parts = 0

    def part(self, source: str, work: Callable[[UnderFuzz], None]) -> None:
        """Do one part, and look through the audit log and the service's own log afterwards."""
        self._parts += 1
        home, log = self._folder / f"part-{self._parts}", io.StringIO()
        shutil.copytree(self._built, home)
        log_to_stderr(stream=log)
        with under_fuzz(home) as under:
            work(under)
            watch = under.watch
            self.report.sources[source] += sum(watch.statuses.values())
            self.report.statuses.update(watch.statuses)
            self.report.routes.update(watch.routes)
            self.report.rules.update(watch.counted)
            self.report.findings += watch.findings
            self.report.add([*under.unaccounted(), *under.logged_wrongly(log.getvalue())])
        # A job that was not waited for may still be writing.
        shutil.rmtree(home, ignore_errors=True)

    def conform(self, role: Role | None, examples: int) -> None:
        """schemathesis as one caller."""

        def work(under: UnderFuzz) -> None:
            # Without a role no request has the text that a token is put in the place of.
            app = Newcomers(under.watch, lambda number: under.callers.token(role or Role.ANALYST, number))
            with served(app) as address:
                known = role is not None
                self.report.add(conformance(under.app.openapi(), address, examples, self._seed, known=known))

        self.part(f"schemathesis as {role.value if role else 'nobody'}", work)

    def on_the_wire(self) -> None:
        """Malformed HTTP."""

        def work(under: UnderFuzz) -> None:
            with served(under.watch) as address:
                outcomes, findings = sent(address, under.watch, under.callers.token(Role.ANALYST, 0))
            self.report.add(findings)
            self.report.twists["on the wire"] = Counter(
                {int(status): count for status, count in outcomes.items() if status.isdigit()}
            )

        self.part("malformed HTTP", work)

    def twist(self, requests: int) -> None:
        """The grammar fuzzer."""

        def work(under: UnderFuzz) -> None:
            asyncio.run(self._twisted(under, requests))

        self.part("grammar", work)

    async def _twisted(self, under: UnderFuzz, requests: int) -> None:
        """Requests in some lanes at once, while the service is open."""
        grammar = Grammar(under.app.openapi(), self._seed * 1000 + self._parts)
        chance = random.Random(self._seed * 1000 + self._parts)  # noqa: S311 (who asks, no secret)
        numbers = iter(range(requests))

        async def lane() -> None:
            for number in numbers:
                attempt = grammar.attempt()
                role = chance.choice(permitted(attempt.permission) if chance.random() < MAY_ASK else CALLERS)
                token = under.callers.token(role, number) if role else None
                try:
                    status, body = await asked(under.watch, attempt, token, number)
                except TimeoutError:
                    self.report.add([Finding("no answer", attempt.operation, 0, "", f"{attempt}"[:300])])
                    continue
                self.report.twists.setdefault(attempt.kind, Counter())[status] += 1
                if status < 300:
                    grammar.samples.learn(body)

        async with under.app.router.lifespan_context(under.app), asyncio.TaskGroup() as lanes:
            for _ in range(TOGETHER):
                lanes.create_task(lane())


def permitted(permission: str | None) -> Sequence[Role | None]:
    """Who may ask for what asks this permission; anybody, where it asks none."""
    return [role for role in Role if permission in GRANTS[role]] or CALLERS


def fuzzed(built: Path, folder: Path, requests: int, examples: int, seed: int) -> Report:
    """All parts, until so many requests were made. examples: of schemathesis, for each operation, phase and caller."""
    began = time.perf_counter()
    fuzz = Fuzz(built, folder, seed)
    fuzz.on_the_wire()
    for role in CALLERS:
        fuzz.conform(role, examples)
    while (left := requests - fuzz.report.asked) > 0:
        fuzz.twist(min(ROUND, left))
    fuzz.report.seconds = time.perf_counter() - began
    return fuzz.report


def printed(report: Report) -> None:
    """What was asked, what was answered, what was found."""
    print("| asked by | requests |\n|---|---|")
    for source, count in report.sources.items():
        print(f"| {source} | {count} |")
    print("\n| twist | answers by status |\n|---|---|")
    for kind in ("on the wire", *KINDS):
        told = ", ".join(f"{count} × {status}" for status, count in sorted(report.twists.get(kind, {}).items()))
        print(f"| {kind} | {told} |")
    statuses = {int(status): count for status, count in sorted(report.statuses.items())}
    print(f"\n{report.asked} requests to {len(report.routes)} routes in {report.seconds:.0f} s: {statuses}")
    print(
        f"gates that closed (503 with Retry-After): {report.statuses[CLOSED]}; rules broken: {dict(report.rules) or 'none'}"
    )
    for finding in report.findings:
        print(f"  {finding.rule} | {finding.route} | {finding.status} | {finding.told[:200]!r} | {finding.request[:300]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--examples", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        report = fuzzed(build(folder / "built"), folder, options.requests, options.examples, options.seed)
    printed(report)
    if options.json:
        options.json.write_text(json.dumps(report.told(), indent=1))
    sys.exit(6 if report.rules else 0)


if __name__ == "__main__":
    main()
