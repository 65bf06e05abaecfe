"""PostgreSQL and Redis killed, frozen and started again under a running service: `python -m benchmarks.store_accidents`.

Private servers, the service on them in processes of its own, and callers that never stop asking: honest ones below their
budget, one greedy one far above it. Of every answer it is written down when it was asked for, how long it took and what it
was. Afterwards the audit log is read from the database. Wanted:

    during an outage   503 with Retry-After within two seconds, or the right answer; nothing else
    afterwards         answers again, without a restart of the service
    the log            holds an entry for each 200, is whole, and as it was signed
    budgets            in no minute has a caller more answers than the budget

Two minutes, and the training before it: `[--workers 2] [--outage 4] [--calm 12] [--json]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from sqlmodel import select

from benchmarks.api_processes import SERVICE, environment_for, running, trained
from benchmarks.private_stores import PrivateServer, private_postgresql, private_redis
from pipeline.database import connect, reading
from security.audit_check import verify_log
from security.audit_heads import read_heads
from security.audit_log import AuditEntry
from security.identity import Role, issue_token
from security.key_chest import open_chest
from security.keyring import trusted_keys
from security.master_key import Protection

WITHIN_SECONDS, WINDOW_SECONDS = 2.0, 60.0
GREEDY, HONEST = "greedy", ("ann", "ben", "cleo")
# The last day that the embedded data can be asked for.
DAY = "2014-12-31"


@dataclass(frozen=True)
class Trial:
    """Which station is served by how many workers, the day that is asked for, and the seconds of each outage and calm."""

    home: Path
    day: str
    workers: int
    outage: float
    calm: float


@dataclass(frozen=True)
class Accident:
    """What happens to which servers, and how it ends."""

    name: str
    strike: Callable[[], None]
    mend: Callable[[], None]


@dataclass(frozen=True)
class Answer:
    """One answer. status 0: none; at, took: seconds; told: what was forecast."""

    caller: str
    at: float
    took: float
    status: int
    request: str = ""
    retry_after: bool = False
    told: str = ""


@dataclass(frozen=True)
class Endured:
    """What came of one accident. again_after: seconds from the mend to the first 200, None for never."""

    name: str
    asked: int
    statuses: dict[str, int]
    slowest_503: float
    again_after: float | None


@dataclass
class Report:
    """What came of all; each `wrong_` and `lost_` is wanted to be 0."""

    accidents: list[Endured] = field(default_factory=list)
    answers: int = 0
    good: int = 0
    wrong_statuses: int = 0
    wrong_answers: int = 0
    slower_than_wanted: int = 0
    without_retry_after: int = 0
    lost_entries: int = 0
    entries: int = 0
    budget: int = 0
    most_in_a_minute: int = 0

    @property
    def holds(self) -> bool:
        """Whether everything is as wanted."""
        wrong = self.wrong_statuses + self.wrong_answers + self.slower_than_wanted + self.without_retry_after
        again = all(one.again_after is not None for one in self.accidents)
        return wrong + self.lost_entries == 0 and again and self.most_in_a_minute <= self.budget


def accidents(postgresql: PrivateServer, redis: PrivateServer) -> list[Accident]:
    """Each server killed and frozen, and both killed at once."""

    def both(act: str) -> Callable[[], None]:
        return lambda: (getattr(postgresql, act)(), getattr(redis, act)())[0]

    return [
        Accident("PostgreSQL killed", postgresql.kill, postgresql.start),
        Accident("Redis killed", redis.kill, redis.start),
        Accident("PostgreSQL frozen", postgresql.freeze, postgresql.thaw),
        Accident("Redis frozen", redis.freeze, redis.thaw),
        Accident("both killed", both("kill"), both("start")),
    ]


class Callers:
    """Who asks, all the time. day: what for; each subject has a token."""

    def __init__(self, address: str, home: Path, day: str, budget: int) -> None:
        self.answers: list[Answer] = []
        self._address, self._day, self._budget = address, day, budget
        signer, now = open_chest(home / "keys", Protection()).signer("token"), datetime.now(UTC)
        self._tokens = {who: issue_token(signer, who, Role.ANALYST, timedelta(minutes=30), now) for who in (GREEDY, *HONEST)}

    async def ask_until(self, done: asyncio.Event) -> None:
        """Ask until it is over: the honest at half their budget, the greedy one at five times it."""
        pace = {who: WINDOW_SECONDS / self._budget * (0.2 if who == GREEDY else 2) for who in self._tokens}
        async with httpx.AsyncClient(base_url=self._address, timeout=30) as client, asyncio.TaskGroup() as group:
            for who, pause in pace.items():
                group.create_task(self._ask(client, who, pause, done))

    async def _ask(self, client: httpx.AsyncClient, who: str, pause: float, done: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            while not done.is_set():
                # Whether or not the last one was answered: a service that hangs is asked on.
                group.create_task(self._ask_once(client, who))
                await asyncio.sleep(pause)

    async def _ask_once(self, client: httpx.AsyncClient, who: str) -> None:
        at = time.monotonic()
        headers = {"Authorization": f"Bearer {self._tokens[who]}"}
        try:
            answer = await client.post("/v1/forecasts", headers=headers, json={"day": self._day})
        except httpx.HTTPError:
            self.answers.append(Answer(who, at, time.monotonic() - at, 0))
            return
        told = json.dumps(answer.json()["intervals"]) if answer.status_code == 200 else ""
        request, again = answer.headers.get("x-request-id", ""), "retry-after" in answer.headers
        self.answers.append(Answer(who, at, time.monotonic() - at, answer.status_code, request, again, told))


async def endure(callers: Callers, all_accidents: Sequence[Accident], outage: float, calm: float) -> list[Endured]:
    """Let one accident follow the other while the callers ask. outage, calm: seconds of each."""
    done = asyncio.Event()
    asking = asyncio.create_task(callers.ask_until(done))
    await asyncio.sleep(calm)
    spans: list[tuple[str, float, float]] = []
    for accident in all_accidents:
        began = time.monotonic()
        await asyncio.to_thread(accident.strike)
        await asyncio.sleep(outage)
        await asyncio.to_thread(accident.mend)
        spans.append((accident.name, began, time.monotonic()))
        await asyncio.sleep(calm)
    done.set()
    await asking
    ends = [began for _, began, _ in spans[1:]] + [time.monotonic()]
    return [_endured(callers.answers, *span, end) for span, end in zip(spans, ends, strict=True)]


def judge(report: Report, answers: Sequence[Answer], url: str, home: Path) -> Report:
    """Hold what was answered against what was wanted and what the log says. Raises AuditLogBroken."""
    good = [one for one in answers if one.status == 200]
    first = {one.caller: one.told for one in sorted(good, key=lambda one: one.at, reverse=True)}
    unavailable = [one for one in answers if one.status == 503]
    engine = connect(url, home)
    with reading(engine) as session:
        report.entries = verify_log(session, read_heads(home / "audit-heads.jsonl", trusted_keys(session, "audit")))
        entered = {json.loads(details).get("request") for details in session.exec(select(AuditEntry.details))}
    engine.dispose()
    report.answers, report.good = len(answers), len(good)
    report.wrong_statuses = sum(one.status not in {200, 429, 503} for one in answers)
    report.wrong_answers = sum(one.told != first[one.caller] for one in good)
    report.slower_than_wanted = sum(one.took > WITHIN_SECONDS for one in unavailable)
    report.without_retry_after = sum(not one.retry_after for one in unavailable)
    report.lost_entries = sum(one.request not in entered for one in good)
    report.most_in_a_minute = max(_most_in_a_minute(good, who) for who in {one.caller for one in answers})
    return report


def _endured(answers: Sequence[Answer], name: str, began: float, mended: float, end: float) -> Endured:
    during = [one for one in answers if began <= one.at < mended]
    after = [one.at + one.took for one in answers if one.status == 200 and mended <= one.at < end]
    slowest = max((one.took for one in answers if one.status == 503 and began <= one.at < end), default=0.0)
    statuses = {str(status): count for status, count in sorted(Counter(one.status for one in during).items())}
    return Endured(name, len(during), statuses, round(slowest, 3), round(min(after) - mended, 3) if after else None)


def _most_in_a_minute(good: Sequence[Answer], who: str) -> int:
    """Of answers that were asked for and given within one minute: only those were certainly charged in it."""
    spans = sorted((one.at, one.at + one.took) for one in good if one.caller == who)
    return max(
        (sum(end < start + WINDOW_SECONDS for _, end in spans[number:]) for number, (start, _) in enumerate(spans)),
        default=0,
    )


def under_accidents(trial: Trial, environment: Mapping[str, str], happening: Sequence[Accident]) -> Report:
    """Serve the station of the environment, let things happen to its stores, and judge."""
    budget = int(environment["GRIDWARD_RATE_LIMIT_PER_MINUTE"])
    arguments = [*SERVICE, "--workers", str(trial.workers)]
    with running(arguments, environment, trial.home.parent / "service.log") as server:
        address = f"http://{server.host}:{server.port}"
        callers = Callers(address, trial.home, trial.day, budget)
        # Workers listen before they have opened their models; what waits for that is no outage.
        httpx.get(f"{address}/healthz", timeout=120)
        endured = asyncio.run(endure(callers, happening, trial.outage, trial.calm))
    report = Report(endured, budget=budget)
    return judge(report, callers.answers, environment["GRIDWARD_DATABASE_URL"], trial.home)


def _table(report: Report) -> str:
    lines = [f"{'accident':<20} {'asked':>6} {'slowest 503':>12} {'again after':>12}  answers during it"]
    for one in report.accidents:
        again = "never" if one.again_after is None else f"{one.again_after:.1f} s"
        lines.append(f"{one.name:<20} {one.asked:>6} {one.slowest_503:>10.2f} s {again:>12}  {one.statuses}")
    facts = {name: value for name, value in asdict(report).items() if name != "accidents"}
    return "\n".join([*lines, *(f"{name.replace('_', ' '):<24} {value}" for name, value in facts.items())])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--outage", type=float, default=4.0)
    options.add_argument("--calm", type=float, default=12.0)
    options.add_argument("--budget", type=int, default=300)
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as name, private_postgresql() as postgresql, private_redis() as redis:
        home = Path(name) / "home"
        stores = {"GRIDWARD_DATABASE_URL": postgresql.url, "GRIDWARD_REDIS_URL": redis.url}
        budget = {"GRIDWARD_RATE_LIMIT_PER_MINUTE": str(asked.budget)}
        environment = environment_for(home, stores | budget)
        trained(home, environment, None)
        trial = Trial(home, DAY, asked.workers, asked.outage, asked.calm)
        report = under_accidents(trial, environment, accidents(postgresql, redis))
    print(json.dumps(asdict(report), indent=2) if asked.json else _table(report))
    sys.exit(0 if report.holds else 1)


if __name__ == "__main__":
    main()
