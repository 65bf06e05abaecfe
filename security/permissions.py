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

    USE_OWN_ACCESS = "use_own_access"
    READ_FORECAST = "read_forecast"
    BACKTEST = "backtest"
    READ_JOBS = "read_jobs"
    READ_ALL_JOBS = "read_all_jobs"
    CANCEL_JOBS = "cancel_jobs"
    READ_MODELS = "read_models"
    READ_SNAPSHOTS = "read_snapshots"
    READ_PROVIDERS = "read_providers"
    READ_EVIDENCE = "read_evidence"
    READ_INCIDENTS = "read_incidents"
    CLOSE_INCIDENT = "close_incident"
    RETRAIN = "retrain"
    RECOVER = "recover"
    REVOKE_PROVIDER = "revoke_provider"
    READMIT_PROVIDER = "readmit_provider"
    RELOAD_MODELS = "reload_models"
    PROPOSE_PROMOTION = "propose_promotion"
    APPROVE_PROMOTION = "approve_promotion"
    RETIRE_MODEL = "retire_model"
    READ_AUDIT = "read_audit"
    READ_METRICS = "read_metrics"
    READ_GUARD = "read_guard"
    RELEASE_GUARD = "release_guard"
    MANAGE_ACCESS = "manage_access"


_ANYONE = frozenset({Permission.USE_OWN_ACCESS})
_ANALYST = _ANYONE | {
    Permission.READ_FORECAST,
    Permission.BACKTEST,
    Permission.READ_JOBS,
    Permission.CANCEL_JOBS,
    Permission.READ_MODELS,
    Permission.READ_SNAPSHOTS,
    Permission.READ_PROVIDERS,
}
_OPERATES = {
    Permission.READ_ALL_JOBS,
    Permission.READ_EVIDENCE,
    Permission.READ_INCIDENTS,
    Permission.CLOSE_INCIDENT,
    Permission.RETRAIN,
    Permission.RECOVER,
    Permission.REVOKE_PROVIDER,
    Permission.READMIT_PROVIDER,
    Permission.RELOAD_MODELS,
    Permission.PROPOSE_PROMOTION,
    Permission.APPROVE_PROMOTION,
    Permission.RETIRE_MODEL,
    Permission.READ_METRICS,
    Permission.READ_GUARD,
}

# Whoever says who may do what (admin) may do none of it, and whoever checks (auditor) changes nothing (AML.T0012).
GRANTS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.ANALYST: _ANALYST,
        Role.OPERATOR: _ANALYST | _OPERATES,
        Role.AUDITOR: _ANYONE
        | {
            Permission.READ_JOBS,
            Permission.READ_ALL_JOBS,
            Permission.READ_MODELS,
            Permission.READ_SNAPSHOTS,
            Permission.READ_PROVIDERS,
            Permission.READ_EVIDENCE,
            Permission.READ_INCIDENTS,
            Permission.READ_AUDIT,
            Permission.READ_METRICS,
            Permission.READ_GUARD,
        },
        Role.ADMIN: _ANYONE
        | {
            Permission.READ_METRICS,
            Permission.READ_GUARD,
            Permission.RELEASE_GUARD,
            Permission.MANAGE_ACCESS,
        },
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
