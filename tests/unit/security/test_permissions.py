from __future__ import annotations

from datetime import UTC, datetime

import pytest

from security import permissions
from security.errors import PermissionDenied
from security.identity import Identity
from security.permissions import Permission, Role, require

EXPECTED = {
    Role.ANALYST: {"read_forecast", "read_models", "read_providers"},
    Role.OPERATOR: {
        "read_forecast", "read_models", "read_providers", "retrain", "revoke_provider",
        "readmit_provider", "reload_models",
    },
    Role.AUDITOR: {"read_models", "read_providers", "read_audit"},
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
