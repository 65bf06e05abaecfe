from __future__ import annotations

from datetime import UTC, datetime

import pytest

from security import permissions
from security.errors import PermissionDenied
from security.identity import Identity
from security.permissions import Permission, Role, require

ANYBODY = {"use_own_access"}
READER = {"read_jobs", "read_models", "read_providers", "read_snapshots"}
FORECASTER = {"read_forecast", "backtest", "cancel_jobs"}
INVESTIGATOR = {"read_all_jobs", "read_evidence", "read_incidents", "read_metrics", "read_guard"}
EXPECTED = {
    Role.ANALYST: ANYBODY | READER | FORECASTER,
    Role.OPERATOR: ANYBODY | READER | FORECASTER | INVESTIGATOR | {
        "retrain", "recover", "revoke_provider", "readmit_provider", "reload_models", "propose_promotion",
        "approve_promotion", "retire_model", "close_incident",
    },
    Role.AUDITOR: ANYBODY | READER | INVESTIGATOR | {"read_audit"},
    Role.ADMIN: ANYBODY | {"read_metrics", "read_guard", "release_guard", "manage_access"},
}  # fmt: skip


def identity(role: Role) -> Identity:
    return Identity("olga", role, "t1", datetime(2014, 3, 1, tzinfo=UTC))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("permission", Permission)
def test_each_role_may_do_what_the_threat_model_grants_and_no_more(role: Role, permission: Permission):
    if permission.value in EXPECTED[role]:
        require(identity(role), permission)
    else:
        with pytest.raises(PermissionDenied) as refusal:
            require(identity(role), permission)
        assert (refusal.value.subject, refusal.value.role, refusal.value.permission) == ("olga", role, permission)


def test_a_role_that_the_table_forgets_may_do_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(permissions, "GRANTS", {})
    for permission in Permission:
        with pytest.raises(PermissionDenied):
            require(identity(Role.OPERATOR), permission)


def test_the_table_cannot_be_changed_while_running():
    with pytest.raises(TypeError):
        permissions.GRANTS[Role.ANALYST] = frozenset(Permission)  # type: ignore[index]  # that is the claim


def test_every_permission_is_somebodys():
    assert set().union(*permissions.GRANTS.values()) == set(Permission)


def test_who_says_who_may_do_what_may_do_none_of_it():
    managing = {role for role, granted in permissions.GRANTS.items() if Permission.MANAGE_ACCESS in granted}
    acts = {*FORECASTER, "retrain", "recover", "approve_promotion", "revoke_provider"}
    acting = {role for role, granted in permissions.GRANTS.items() if acts & granted}

    assert managing == {Role.ADMIN}
    assert not managing & acting
