"""Secrets planted in a real station, and looked for in everything it leaves: outputs, logs, files, answers, children.

The same search is shown to find each of them where a safeguard is off: a search that cannot fail proves nothing.
"""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import httpx
import pytest
from pydantic import SecretStr

from api import cli
from pipeline.settings import Settings
from pipeline.station import Station, open_station, protection_in
from security._primitives import private_key_bytes
from security.backup_keys import load_backup_keys
from security.key_chest import MASTER
from security.keyring import load_or_create_signer
from security.master_key import Protection, read_master
from security.operators import load_operator
from tests.unit.api.small_station import LAST_DAY, demand_and_weather
from tests.unit.security.secret_search import found_in
from tests.unit.security.small_vault import TOKEN, SmallVault

WORDS = {
    "key passphrase": "planted-one quiet words",
    "new key passphrase": "planted-two quiet words",
    "backup passphrase": "planted-three quiet words",
    "operator passphrase": "planted-four quiet words",
    "vault token": TOKEN,
}
PRIVATE_KEY_HEADER = {"private key in PEM": b"PRIVATE KEY-----"}


@dataclass
class Evidence:
    """What a station's life left. secrets: name → bytes; said: what each command printed, or the service answered."""

    home: Path
    secrets: dict[str, bytes] = field(default_factory=lambda: {name: words.encode() for name, words in WORDS.items()})
    said: dict[str, bytes] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    environments: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Console:
    """Runs `gridward --debug …` in this process, as in one of its own, and keeps what it said and logged."""

    evidence: Evidence
    environment: dict[str, str]

    def run(self, name: str, *arguments: object, **variables: str) -> str:
        out, err = io.StringIO(), io.StringIO()
        log = logging.StreamHandler(err)
        logging.getLogger().addHandler(log)
        try:
            with (
                patch.dict(os.environ, self.environment | variables),
                patch.object(sys, "argv", ["gridward", "--debug", *map(str, arguments)]),
                redirect_stdout(out),
                redirect_stderr(err),
                pytest.raises(SystemExit) as left,
            ):
                cli.main()
        finally:
            logging.getLogger().removeHandler(log)
        self.evidence.said[name] = f"{out.getvalue()}\n{err.getvalue()}".encode()
        self.evidence.codes[name] = int(left.value.code or 0)
        return out.getvalue().strip()


def own_files(folder: Path) -> list[str]:
    """The small station's readings as files, and the options that name them."""
    demand, weather = demand_and_weather()
    demand["demand_mw"].rename_axis("timestamp").reset_index().to_csv(folder / "demand.csv", index=False)
    options = ["--demand", f"{folder}/demand.csv", "--timezone", "UTC"]
    for name, rows in weather.groupby("provider"):
        columns = rows.rename(columns={"valid_at": "timestamp"})[["timestamp", "issued_at", "temperature_c"]]
        columns.drop_duplicates(["timestamp", "issued_at"]).to_csv(folder / f"{name}.csv", index=False)
        options += ["--weather", f"{name}={folder}/{name}.csv"]
    return options


def settings_of(evidence: Evidence) -> Settings:
    return Settings(home=evidence.home, key_passphrase=SecretStr(WORDS["key passphrase"]))


def keys_of(station: Station) -> dict[str, bytes]:
    """Every secret key of a station, and the master key above them."""
    own = {f"{name} key": private_key_bytes(station.chest.signer(name).private_key) for name in station.chest.names()}
    return own | {"bundle keys": station.bundle_keys.to_secret()}


def serve(evidence: Evidence, console: Console, log: Path) -> None:
    """The real service: asked well and badly with a token, its log kept, its children's environments read."""
    command = [sys.executable, "-m", "api.cli", "--debug", "serve", "--port", "0"]
    token = evidence.secrets["token"].decode()
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, env=os.environ | console.environment, stdout=subprocess.PIPE, stderr=stderr)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            asked = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=json.loads(line)["address"], timeout=60) as client:
                answers = [
                    client.post("/v1/forecasts", json={"day": str(LAST_DAY + timedelta(days=1))}, headers=asked),
                    client.post("/v1/retrain", json={}, headers=asked),
                    client.post("/v1/forecasts", json={"day": token}, headers=asked),
                    client.get("/v1/models", headers={"Authorization": f"Bearer {token[:-4]}AAAA"}),
                ]
            evidence.said["answers"] = line + b"".join(answer.content for answer in answers)
            assert [answer.status_code for answer in answers][:2] == [200, 403]
            evidence.environments["the service"] = Path(f"/proc/{process.pid}/environ").read_bytes()
            for child in children_of(process.pid):
                evidence.environments[f"child {child}"] = Path(f"/proc/{child}/environ").read_bytes()
        finally:
            process.terminate()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
    evidence.said["log of the service"] = log.read_bytes()


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def live(evidence: Evidence, console: Console, folder: Path, vault: SmallVault) -> None:
    """From the first training to another protection of the keys, with mistakes in between."""
    files, backups = own_files(folder), folder / "backups"
    console.run("train", "train", *files)
    evidence.secrets["token"] = console.run("token", "token", "--role", "analyst", "--subject", "ann").encode()
    serve(evidence, console, folder / "service.log")
    first_day = ["--start", "2023-05-29", "--end", "2023-05-29", "--forecaster", "seasonal-naive", "--jobs", "1"]
    console.run("backtest", "backtest", *files, *first_day, "--report", folder / "report.html", "--out", folder / "out.csv")
    console.run("backup", "backup", "create", "--to", backups)
    console.run("drill", "backup", "restore", backups, "--drill")
    console.run("restore", "backup", "restore", backups, "--out", folder / "restored")
    console.run("wrong backup passphrase", "backup", "verify", backups, GRIDWARD_BACKUP_PASSPHRASE=WORDS["vault token"])
    operate(evidence, console, folder / "operator.key")
    console.run("status", "keys", "status")
    before = open_station(settings_of(evidence))
    evidence.secrets |= keys_of(before)
    evidence.secrets["master key"] = read_master(before.chest.folder / MASTER, protection_in(settings_of(evidence)))
    before.engine.dispose()
    console.run("rotate", "keys", "rotate")
    console.run("wrong passphrase", "models", GRIDWARD_KEY_PASSPHRASE=WORDS["new key passphrase"])
    console.run("unusable setting", "models", GRIDWARD_PORT="eighty")
    changed = {"GRIDWARD_KEY_PASSPHRASE": WORDS["new key passphrase"]}
    console.run("protect", "keys", "protect", **changed, GRIDWARD_OLD_KEY_PASSPHRASE=WORDS["key passphrase"])
    in_kms = {"GRIDWARD_KEY_PASSPHRASE": "", "GRIDWARD_KMS_URI": vault.uri("station"), "GRIDWARD_VAULT_TOKEN": TOKEN}
    console.run("kms", "keys", "protect", **in_kms, GRIDWARD_OLD_KEY_PASSPHRASE=WORDS["new key passphrase"])
    console.run("models", "models", **in_kms)
    vault.way = "forbidden"
    console.run("refused by the kms", "models", **in_kms)
    console.run("both", "models", **(in_kms | {"GRIDWARD_KEY_PASSPHRASE": WORDS["key passphrase"]}))


def operate(evidence: Evidence, console: Console, key: Path) -> None:
    """Somebody makes an operator's key, tries it, and misspells its passphrase."""
    model_id = next(path.name for path in (evidence.home / "models").iterdir() if not path.name.startswith("."))
    console.run("operator-key", "operator-key", key)
    signer = load_operator(key, SecretStr(WORDS["operator passphrase"]))
    evidence.secrets["operator key"] = private_key_bytes(signer.private_key)
    console.run("registry", "registry", "list")
    approve = ["registry", "approve", model_id, "--key", key]
    console.run("not an operator", *approve)
    console.run("wrong operator passphrase", *approve, GRIDWARD_OPERATOR_PASSPHRASE=WORDS["vault token"])


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder = tmp_path_factory.mktemp("planted")
    evidence = Evidence(folder / "home")
    environment = {
        "GRIDWARD_HOME": str(evidence.home),
        "GRIDWARD_FORECASTER": "linear",
        "GRIDWARD_KEY_PASSPHRASE": WORDS["key passphrase"],
        "GRIDWARD_BACKUP_PASSPHRASE": WORDS["backup passphrase"],
        "GRIDWARD_OPERATOR_PASSPHRASE": WORDS["operator passphrase"],
    }
    with SmallVault() as vault:
        live(evidence, Console(evidence, environment), folder, vault)
    return evidence


def test_the_station_lived_as_it_should(evidence: Evidence) -> None:
    refused = {
        "wrong backup passphrase": 3,
        "not an operator": 3,
        "wrong operator passphrase": 3,
        "wrong passphrase": 3,
        "unusable setting": 2,
        "refused by the kms": 5,
        "both": 2,
    }
    done = dict.fromkeys(evidence.codes, 0) | refused
    assert evidence.codes == done, {name: evidence.said[name][-500:] for name in done if evidence.codes[name] != done[name]}
    assert {"model key", "token key", "registry key", "backup key", "bundle keys", "master key"} <= set(evidence.secrets)


def test_nothing_that_was_printed_logged_or_answered_holds_a_secret(evidence: Evidence) -> None:
    for name, said in evidence.said.items():
        allowed = {"token"} if name == "token" else set()
        assert found_in(said, evidence.secrets | PRIVATE_KEY_HEADER) == allowed, name


def test_no_file_that_was_written_holds_a_secret(evidence: Evidence) -> None:
    """Station, database, models, releases, backups, the restored station, reports: every byte of them."""
    looked_at = 0
    for path in sorted(evidence.home.parent.rglob("*")):
        if path.is_file():
            looked_at += 1
            assert found_in(path.read_bytes(), evidence.secrets | PRIVATE_KEY_HEADER) == set(), path
    assert looked_at > 50
    names = {path.name for path in evidence.home.parent.rglob("*")}
    assert {"gridward.sqlite", "master.json", "bundles.keyset", "report.html", "service.log", "operator.key"} <= names


def test_no_child_of_the_service_is_given_a_secret(evidence: Evidence) -> None:
    children = {name: content for name, content in evidence.environments.items() if name != "the service"}
    assert children
    for name, content in children.items():
        assert found_in(content, evidence.secrets) == set(), name
    # The service itself was told: the search finds what is there.
    assert {"key passphrase", "backup passphrase"} <= found_in(evidence.environments["the service"], evidence.secrets)


def test_nothing_that_can_be_printed_inside_holds_a_secret(evidence: Evidence, tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path / "home",
        key_passphrase=SecretStr(WORDS["key passphrase"]),
        backup_passphrase=SecretStr(WORDS["backup passphrase"]),
        vault_token=SecretStr(TOKEN),
    )
    station = open_station(settings)
    station.engine.dispose()
    station.chest.signer("backup")
    backup = load_backup_keys(evidence.home / "keys" / "backup.keyset", settings.backup_passphrase)
    secrets = evidence.secrets | keys_of(station) | {"backup cipher": backup.cipher.to_secret(), "name key": backup.name_key}
    secrets["master key"] = read_master(station.chest.folder / MASTER, protection_in(settings))
    kms = protection_in(settings.model_copy(update={"key_passphrase": None, "kms_uri": "vault://localhost/transit/keys/k"}))
    printed = [settings, station, station.chest, station.signers, station.bundle_keys, protection_in(settings), kms, backup]
    shown = b"\n".join(f"{thing!r}\n{thing!s}".encode() for thing in printed)
    shown += settings.model_dump_json().encode() + repr(station.bundle_keys.new_data_key(b"x")[0]).encode()

    assert b"SecretStr" in shown
    assert found_in(shown, secrets) == set()


@dataclass(frozen=True)
class NaiveSettings:
    """What the house rules forbid: a passphrase as plain text."""

    key_passphrase: str


def test_the_same_search_finds_each_secret_where_a_safeguard_is_off(evidence: Evidence, tmp_path: Path) -> None:
    words = WORDS["key passphrase"]
    assert found_in(repr(NaiveSettings(words)).encode(), evidence.secrets) == {"key passphrase"}
    headers = {"Authorization": f"Bearer {evidence.secrets['token'].decode()}"}
    assert found_in(f"request {headers}".encode(), evidence.secrets) == {"token"}

    naive = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=os.environ | {"WORDS": words})
    until = time.monotonic() + 10
    while not (inherited := Path(f"/proc/{naive.pid}/environ").read_bytes()) and time.monotonic() < until:
        time.sleep(0.01)
    naive.communicate(b"\n")
    assert found_in(inherited, evidence.secrets) == {"key passphrase"}

    load_or_create_signer(tmp_path, "model")
    assert found_in((tmp_path / "model.pem").read_bytes(), PRIVATE_KEY_HEADER) == set(PRIVATE_KEY_HEADER)
    unprotected = open_station(Settings(home=tmp_path / "home"))
    unprotected.engine.dispose()
    master = {"master key": read_master(unprotected.chest.folder / MASTER, Protection())}
    assert found_in((unprotected.chest.folder / MASTER).read_bytes(), master) == {"master key"}
