"""`gridward registry` and `gridward operator-key`: from demo operators to real ones, and what each refusal says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlmodel import select

from pipeline.database import make_engine, transaction
from pipeline.ingest import load_readings
from pipeline.station import open_station
from pipeline.train import train
from security.audit_log import AuditEntry
from tests.unit.api.commands import Run, runner
from tests.unit.api.small_station import order, settings_for
from tests.unit.pipeline.small_backup import hurry

NAMES = ("ann", "bob", "cy")


@pytest.fixture(scope="module")
def two_models(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A station whose second model took the place of the first, with the demo operators' approval."""
    home = tmp_path_factory.mktemp("two") / "home"
    shutil.copytree(built, home)
    station = open_station(settings_for(home))
    train(station, load_readings(station), order(policy="single:aurora", seed=2))
    station.engine.dispose()
    return home


@pytest.fixture
def home(two_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    hurry(monkeypatch)
    shutil.copytree(two_models, tmp_path / "home", symlinks=True)
    monkeypatch.delenv("GRIDWARD_OPERATOR_PASSPHRASE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("GRIDWARD_HOME", str(home))
    return runner(monkeypatch, capsys, "registry")


class People:
    """Three real operators, each with a file and a passphrase of their own."""

    def __init__(self, place: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.place, self.patch = place, patch
        make = runner(patch, capsys, "operator-key")
        for name in NAMES:
            self.words(name)
            (place / f"{name}.pub").write_text(make(place / f"{name}.key").out)

    def words(self, name: str) -> None:
        self.patch.setenv("GRIDWARD_OPERATOR_PASSPHRASE", f"six quiet words of {name} alone")

    def key(self, name: str) -> tuple[str, Path]:
        """The options of a command that this operator runs, with the own passphrase set."""
        self.words(name)
        return "--key", self.place / f"{name}.key"

    def joining(self) -> list[str]:
        leave = [option for number in (1, 2, 3) for option in ("--leave", f"demo-{number}")]
        return leave + [option for name in NAMES for option in ("--join", f"{name}={self.place / f'{name}.pub'}")]


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> People:
    place = tmp_path / "operators"
    place.mkdir()
    return People(place, monkeypatch, capsys)


@pytest.fixture
def taken_over(run: Run, people: People) -> People:
    """The demo operators handed over to the real ones."""
    assert run("rotate-root", "--demo", *people.joining()).code == 0
    for name in NAMES[:2]:
        assert run("rotate-root", *people.key(name), *people.joining()).code == 0
    assert run("rotate-root", "--publish").code == 0
    return people


def acts(home: Path, action: str) -> list[AuditEntry]:
    engine = make_engine("", home)
    with transaction(engine) as session:
        found = list(session.exec(select(AuditEntry).where(AuditEntry.action == action)))
    engine.dispose()
    return found


def models(run: Run) -> tuple[str, str]:
    """(model in service, the one before it)"""
    listed = run("list", "--json").json
    states = {model["state"]: model["id"] for model in listed["models"]}
    return states["active"], states["retired"]


def test_the_list_shows_what_runs_who_decides_and_that_nothing_waits(run: Run) -> None:
    listed = run("list", "--json")
    assert listed.code == 0
    (release,) = listed.json["releases"]
    assert (release["role"], release["model"][:16]) == ("main", models(run)[0])
    assert listed.json["operators"] == ["demo-1", "demo-2", "demo-3"]
    assert (listed.json["waits"], listed.json["rotation"]) == (None, None)
    told = run("list")
    assert release["model"][:16] in told.out
    assert "demo-1, demo-2, demo-3" in told.out


def test_going_back_to_the_model_before_is_a_new_approved_version(run: Run, home: Path) -> None:
    active, before = models(run)
    version = run("list", "--json").json["versions"]["targets"]
    approved = run("approve", before, "--demo", "--json")
    assert (approved.code, approved.json["approved"], approved.json["signed_by"]) == (0, True, ["demo-1", "demo-2"])
    promoted = run("promote", before)
    assert promoted.code == 0
    assert "/v1/models/reload" in promoted.out
    assert models(run) == (before, active)
    assert run("list", "--json").json["versions"]["targets"] == version + 1
    assert [entry.subject for entry in acts(home, "model.approved")][-1] == before


def test_what_is_promoted_without_approval_waits_with_code_seven(run: Run) -> None:
    active, before = models(run)
    refused = run("promote", before)
    assert refused.code == 7
    assert refused.err.startswith(f"error: model {before}: waits for 2 operators")
    assert models(run) == (active, before)


def test_real_operators_take_over_and_one_of_them_is_not_enough(run: Run, taken_over: People) -> None:
    active, before = models(run)
    assert run("list", "--json").json["operators"] == ["ann", "bob", "cy"]

    one = run("approve", before, *taken_over.key("ann"), "--json")
    assert (one.json["signed_by"], one.json["approved"]) == (["ann"], False)
    assert run("promote", before).code == 7
    assert models(run)[0] == active
    waits = run("list")
    assert "A model waits" in waits.out
    assert "bob, cy" in waits.out

    assert run("approve", before, *taken_over.key("cy")).code == 0
    assert run("promote", before, "--json").json == {"model": before, "role": "main", "state": "active"}
    assert models(run) == (before, active)


@pytest.mark.usefixtures("taken_over")
def test_demo_operators_who_left_have_no_key_here_any_more(run: Run, home: Path) -> None:
    refused = run("approve", models(run)[1], "--demo")
    assert refused.code == 5
    assert "keeps no demo operators' keys" in refused.err
    assert not list((home / "keys").glob("operator-demo-*"))


def test_a_lost_key_is_replaced_by_the_other_two(run: Run, taken_over: People, capsys: pytest.CaptureFixture[str]) -> None:
    taken_over.words("cy")
    new = runner(taken_over.patch, capsys, "operator-key")(taken_over.place / "cy.new.key", "--json").json
    (taken_over.place / "cy.new.pub").write_text(new["public_key"])
    change = ("--leave", "cy", "--join", f"cy={taken_over.place / 'cy.new.pub'}")
    first = run("rotate-root", *taken_over.key("ann"), *change, "--json").json
    assert (first["out"], first["into"], first["approved"]) == (["cy"], ["cy"], False)
    early = run("rotate-root", "--publish")
    assert early.code == 5
    assert "approved by ann" in early.err
    assert "A rotation waits" in run("list").out
    assert run("rotate-root", *taken_over.key("bob"), *change, "--json").json["approved"]
    assert run("rotate-root", "--publish", "--json").json["root"] == 3

    lost = run("approve", models(run)[1], *taken_over.key("cy"))
    assert lost.code == 3
    taken_over.words("cy")
    assert run("approve", models(run)[1], "--key", taken_over.place / "cy.new.key").code == 0


def test_the_online_key_is_replaced_and_the_releases_go_on(run: Run) -> None:
    assert run("rotate-root", "--demo", "--new-online-key", "--json").json["new_online_key"]
    assert run("rotate-root", "--publish").code == 0
    active, before = models(run)
    run("approve", before, "--demo")
    assert run("promote", before).code == 0
    assert models(run) == (before, active)


def test_a_strangers_key_is_refused_and_that_stands_in_the_audit_log(run: Run, people: People, home: Path) -> None:
    active, before = models(run)
    for arguments in (("approve", before), ("rotate-root",)):
        refused = run(*arguments, *people.key("ann"))
        assert refused.code == 3
        assert "not the key of one of today's operators" in refused.err
    assert len(acts(home, "access.denied")) == 2
    assert models(run) == (active, before)


def test_another_passphrase_or_none_signs_nothing(run: Run, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    _, before = models(run)
    option, file = people.key("ann")
    people.words("mallory")
    wrong = run("approve", before, option, file)
    monkeypatch.delenv("GRIDWARD_OPERATOR_PASSPHRASE")
    missing = run("approve", before, option, file)
    assert (wrong.code, missing.code) == (3, 5)
    assert "mallory" not in wrong.err
    assert missing.err.startswith("error: GRIDWARD_OPERATOR_PASSPHRASE: no operator's passphrase")
    assert run("list", "--json").json["waits"] is None


def test_another_model_than_the_staged_one_is_refused_unless_it_replaces_it(run: Run, taken_over: People) -> None:
    active, before = models(run)
    run("approve", before, *taken_over.key("ann"))
    other = run("approve", active, *taken_over.key("bob"))
    assert other.code == 2
    assert "another proposal" in other.err
    replaced = run("approve", active, *taken_over.key("bob"), "--replace", "--json").json
    assert (replaced["model_id"], replaced["signed_by"]) == (active, ["bob"])


def test_a_model_out_of_service_is_retired_and_revoked_and_one_in_service_is_not(run: Run, home: Path) -> None:
    active, before = models(run)
    in_service = run("revoke", active, "--reason", "it lies")
    assert in_service.code == 2
    assert "is in service" in in_service.err
    assert run("revoke", before, "--reason", " ").code == 2
    assert run("retire", before, "--reason", "not needed", "--json").json["state"] == "retired"
    assert run("revoke", before, "--reason", "it lies").code == 0
    assert acts(home, "model.revoked")[0].subject == before
    again = run("approve", before, "--demo")
    assert again.code == 2
    assert "revoked" in again.err


def test_a_refresh_shows_every_version_and_when_it_runs_out(run: Run) -> None:
    shown = run("refresh", "--json")
    assert shown.code == 0
    assert set(shown.json["versions"]) == set(shown.json["expires"]) == {"root", "targets", "snapshot", "timestamp"}
    assert "timestamp" in run("refresh").out


def test_a_repository_that_was_brought_back_to_an_older_state_is_refused_with_three(run: Run, home: Path) -> None:
    _, before = models(run)
    shutil.copytree(home / "registry", home / "old")
    run("approve", before, "--demo")
    run("promote", before)
    shutil.rmtree(home / "registry")
    shutil.copytree(home / "old", home / "registry")
    shutil.rmtree(home / "registry-client")
    for command in ("refresh", "list"):
        refused = run(command)
        assert refused.code == 3
        assert "rolled back" in refused.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("approve", "0" * 16), "give --key FILE, or --demo"),
        (("rotate-root", "--publish", "--demo"), "--publish stands alone"),
        (("rotate-root", "--demo", "--join", "ann"), "write NAME=FILE"),
        (("rotate-root", "--demo", "--join", "ann=nowhere.pub"), "cannot read the public key"),
    ],
)
def test_what_makes_no_sense_is_refused_with_two(run: Run, arguments: tuple[str, ...], said: str) -> None:
    refused = run(*arguments)
    assert refused.code == 2
    assert said in " ".join(refused.err.replace("│", " ").split())
