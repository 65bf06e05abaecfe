"""What a role may do: one table, and nothing that is not in it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from security.errors import PermissionDenied
from security.identity import Identity, Role

__all__ = ["GRANTS", "Permission", "Role", "RoleLacksPermission", "require"]


class Permission(StrEnum):
    """One thing that may be asked of the service."""

    READ_FORECAST = "read_forecast"
    READ_MODELS = "read_models"
    READ_PROVIDERS = "read_providers"
    RETRAIN = "retrain"
    REVOKE_PROVIDER = "revoke_provider"
    READMIT_PROVIDER = "readmit_provider"
    RELOAD_MODELS = "reload_models"
    READ_AUDIT = "read_audit"


_ANALYST = frozenset({Permission.READ_FORECAST, Permission.READ_MODELS, Permission.READ_PROVIDERS})

GRANTS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.ANALYST: _ANALYST,
        Role.OPERATOR: _ANALYST
        | {Permission.RETRAIN, Permission.REVOKE_PROVIDER, Permission.READMIT_PROVIDER, Permission.RELOAD_MODELS},
        Role.AUDITOR: frozenset({Permission.READ_MODELS, Permission.READ_PROVIDERS, Permission.READ_AUDIT}),
    }
)


class RoleLacksPermission(PermissionDenied):
    """Who was refused what: `subject`, `role`, `permission`."""

    def __init__(self, subject: str, role: Role, permission: Permission) -> None:
        self.subject = subject
        self.role = role
        self.permission = permission
        super().__init__(f"the role {role} may not {permission}", mend="ask someone whose role may")


def require(identity: Identity, permission: Permission) -> None:
    """Raise PermissionDenied unless the table grants `permission` to the caller's role."""
    if permission not in GRANTS.get(identity.role, frozenset()):
        raise RoleLacksPermission(identity.subject, identity.role, permission)
