from __future__ import annotations

import json

import pytest

from api.audit_reading import entries_after
from tests.unit.api.small_station import Service

ORDER = {"owner": "control-room", "role": "operator", "days": 30}


def new_key(service: Service, role: str = "analyst", owner: str = "bot") -> str:
    answer = service.ask("POST", "/v1/api-keys", role="admin", json={"owner": owner, "role": role})
    assert answer.status_code == 201
    return str(answer.json()["key"])


def entries(service: Service, action: str) -> list[tuple[str, str, dict[str, object]]]:
    found = entries_after(service.station, 0, 1000)
    return [(entry.actor, entry.subject, json.loads(entry.details)) for entry in found if entry.action == action]


@pytest.mark.parametrize("role", ["analyst", "operator", "auditor", "admin"])
def test_a_caller_is_told_who_they_are_and_what_they_may(shared: Service, role: str) -> None:
    told = shared.ask("GET", "/v1/whoami", token=shared.token(role, "olga")).json()

    assert (told["subject"], told["role"], told["method"], told["key_id"]) == ("olga", role, "token", "")
    assert ("manage_access" in told["permissions"]) == (role == "admin")


def test_an_admin_makes_a_key_that_works_and_whose_secret_is_told_once(service: Service) -> None:
    made = service.ask("POST", "/v1/api-keys", role="admin", json=ORDER)
    key, facts = made.json()["key"], made.json()["facts"]

    told = service.ask("GET", "/v1/whoami", token=key).json()
    listed = service.ask("GET", "/v1/api-keys", role="admin")

    assert made.status_code == 201
    assert (told["subject"], told["role"], told["method"]) == ("control-room", "operator", "api-key")
    assert [one["key_id"] for one in listed.json()["keys"]] == [facts["key_id"]]
    assert key.rpartition("_")[2] not in listed.text
    assert "digest" not in listed.text


def test_neither_the_audit_log_nor_the_database_holds_the_secret_of_a_key(service: Service) -> None:
    secret = new_key(service).rpartition("_")[2]

    [(actor, subject, details)] = entries(service, "access.granted")

    assert (actor, subject, details["role"]) == ("admin-1", "bot", "analyst")
    assert secret not in json.dumps(details)
    files = list(service.station.home.glob("gridward.sqlite*"))
    assert files
    assert not any(secret.encode() in path.read_bytes() for path in files)


def test_an_api_key_is_exchanged_for_a_token_of_at_most_fifteen_minutes_and_that_for_no_other(service: Service) -> None:
    key = new_key(service)

    exchanged = service.ask("POST", "/v1/tokens", token=key)
    token = exchanged.json()["token"]
    told = service.ask("GET", "/v1/whoami", token=token).json()

    assert exchanged.status_code == 200
    assert exchanged.headers["cache-control"] == "no-store"
    assert (told["method"], told["subject"], told["token_id"]) == ("token", "bot", exchanged.json()["token_id"])
    assert told["key_id"] == key[3:19]
    assert service.ask("POST", "/v1/tokens", token=token).status_code == 403


def test_a_withdrawn_key_closes_the_door_to_itself_and_its_tokens_at_once(service: Service) -> None:
    key = new_key(service)
    token = service.ask("POST", "/v1/tokens", token=key).json()["token"]

    path = f"/v1/api-keys/{key[3:19]}"
    withdrawn = service.ask("DELETE", path, role="admin", params={"reason": "the laptop is gone"})

    assert withdrawn.json()["revoked_by"] == "admin-1"
    assert service.ask("GET", "/v1/whoami", token=key).status_code == 401
    assert service.ask("GET", "/v1/whoami", token=token).status_code == 401
    [(_, subject, details)] = entries(service, "access.revoked")
    assert (subject, details["reason"]) == (f"API key {key[3:19]}", "the laptop is gone")


def test_a_key_that_never_was_cannot_be_withdrawn(shared: Service) -> None:
    answer = shared.ask("DELETE", f"/v1/api-keys/{'0' * 16}", role="admin", params={"reason": "test"})

    assert answer.status_code == 404


@pytest.mark.parametrize("method", ["by id", "as shown"])
def test_a_caller_withdraws_the_own_token_and_it_opens_nothing_any_more(service: Service, method: str) -> None:
    token = service.token("analyst")
    token_id = service.ask("GET", "/v1/whoami", token=token).json()["token_id"]
    order = {"reason": "leaving", **({"token_id": token_id} if method == "by id" else {})}

    assert service.ask("POST", "/v1/tokens/revoke", token=token, json=order).json()["token_id"] == token_id
    assert service.ask("GET", "/v1/whoami", token=token).status_code == 401
    assert service.ask("GET", "/v1/whoami", token=service.token("analyst")).status_code == 200


def test_only_an_admin_withdraws_anothers_token(service: Service) -> None:
    token = service.token("analyst", "ann")
    token_id = service.ask("GET", "/v1/whoami", token=token).json()["token_id"]
    order = {"token_id": token_id, "reason": "mischief"}

    for role in ("analyst", "operator", "auditor"):
        assert service.ask("POST", "/v1/tokens/revoke", token=service.token(role, "eve"), json=order).status_code == 403
    assert service.ask("GET", "/v1/whoami", token=token).status_code == 200
    assert service.ask("POST", "/v1/tokens/revoke", role="admin", json=order).status_code == 200
    assert service.ask("GET", "/v1/whoami", token=token).status_code == 401


def test_a_key_withdraws_the_tokens_that_were_issued_for_it(service: Service) -> None:
    key = new_key(service)
    issued = service.ask("POST", "/v1/tokens", token=key).json()

    order = {"token_id": issued["token_id"], "reason": "done"}

    assert service.ask("POST", "/v1/tokens/revoke", token=key, json=order).status_code == 200
    assert service.ask("GET", "/v1/whoami", token=issued["token"]).status_code == 401
    assert service.ask("POST", "/v1/tokens/revoke", token=key, json={"reason": "done"}).status_code == 409


def test_an_admins_api_key_administrates_nothing(service: Service) -> None:
    key = new_key(service, "admin", "automation")
    token = service.ask("POST", "/v1/tokens", token=key).json()["token"]
    victim = new_key(service)

    for shown in (key, token):
        assert service.ask("POST", "/v1/api-keys", token=shown, json=ORDER).status_code == 403
        path = f"/v1/api-keys/{victim[3:19]}"
        assert service.ask("DELETE", path, token=shown, params={"reason": "x"}).status_code == 403
        order = {"token_id": "0" * 32, "reason": "x"}
        assert service.ask("POST", "/v1/tokens/revoke", token=shown, json=order).status_code == 403
    assert service.ask("GET", "/v1/whoami", token=victim).status_code == 200


def test_an_admin_makes_no_operator_of_themselves(service: Service) -> None:
    order = {"owner": "admin-1", "role": "operator"}

    answer = service.ask("POST", "/v1/api-keys", role="admin", json=order)

    assert answer.status_code == 403
    assert "themselves" in answer.json()["detail"]


@pytest.mark.parametrize(
    "change",
    [{"owner": ""}, {"owner": "a b"}, {"owner": "x" * 65}, {"role": "root"}, {"days": 0}, {"days": 366}, {"scope": "all"}],
    ids=str,
)
def test_an_order_for_a_key_has_its_shape(shared: Service, change: dict[str, object]) -> None:
    assert shared.ask("POST", "/v1/api-keys", role="admin", json={**ORDER, **change}).status_code == 422


def test_keys_are_listed_in_pages_the_newest_first(service: Service) -> None:
    made = [new_key(service, owner=f"bot-{number}")[3:19] for number in range(5)]
    seen: list[str] = []

    path: str | None = "/v1/api-keys?limit=2"
    while path:
        page = service.ask("GET", path, role="admin").json()
        seen += [one["key_id"] for one in page["keys"]]
        path = page["next"]

    assert seen == made[::-1]
