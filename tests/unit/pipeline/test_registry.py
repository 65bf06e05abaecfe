from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import Session

from pipeline import registry
from pipeline.errors import NoActiveModel, PipelineError
from pipeline.registry import ACTIVE, CANDIDATE, RETIRED, REVOKED, ModelRecord

MARCH = datetime(2014, 3, 1, tzinfo=UTC)


def record(model_id: str, role: str = "main", days: int = 0) -> ModelRecord:
    return ModelRecord(
        model_id=model_id,
        role=role,
        forecaster="lightgbm",
        state=CANDIDATE,
        snapshot_id=f"s-{model_id}",
        weather_policy="multi-source",
        as_of=MARCH,
        published_at=MARCH + timedelta(days=days),
        published_by="ann",
    )


def publish(session: Session, *names: str, role: str = "main") -> None:
    for number, name in enumerate(names):
        registry.enter(session, record(name, role, number))
        registry.activate(session, name)


def states(session: Session) -> dict[str, str]:
    return {entry.model_id: entry.state for entry in registry.listing(session)}


def test_nothing_is_active_before_something_was_activated(session: Session) -> None:
    registry.enter(session, record("a"))
    assert states(session) == {"a": CANDIDATE}
    with pytest.raises(NoActiveModel, match="gridward train"):
        registry.active(session)


def test_a_new_active_model_retires_the_one_before(session: Session) -> None:
    publish(session, "a", "b")
    assert states(session) == {"a": RETIRED, "b": ACTIVE}
    assert registry.active(session).model_id == "b"


def test_each_role_has_its_own_active_model(session: Session) -> None:
    publish(session, "a")
    publish(session, "f", role="fallback")
    assert registry.active(session).model_id == "a"
    assert registry.active(session, "fallback").model_id == "f"


def test_activating_the_active_model_changes_nothing(session: Session) -> None:
    publish(session, "a", "a")
    assert states(session) == {"a": ACTIVE}


def test_a_revoked_model_never_comes_back(session: Session) -> None:
    publish(session, "a", "b")
    registry.revoke(session, ["a"])
    for act in (registry.activate, registry.require_releasable):
        with pytest.raises(PipelineError, match="a is revoked, not a candidate"):
            act(session, "a")
    assert states(session) == {"a": REVOKED, "b": ACTIVE}


def test_a_retired_model_comes_back_as_a_release_and_retires_the_one_before(session: Session) -> None:
    publish(session, "a", "b")
    assert registry.activate(session, "a").state == ACTIVE
    assert states(session) == {"a": ACTIVE, "b": RETIRED}


@pytest.mark.parametrize("state", [RETIRED, REVOKED])
def test_what_was_withdrawn_is_not_entered_again_as_a_candidate(session: Session, state: str) -> None:
    publish(session, "a", "b")
    registry.withdraw(session, "a", state)
    with pytest.raises(PipelineError, match=f"a was {state} before"):
        registry.enter(session, record("a"))
    assert states(session) == {"a": state, "b": ACTIVE}


def test_what_is_in_service_is_not_withdrawn(session: Session) -> None:
    publish(session, "a")
    with pytest.raises(PipelineError, match="a is in service"):
        registry.withdraw(session, "a", RETIRED)
    assert states(session) == {"a": ACTIVE}


def test_an_unknown_model_cannot_be_activated(session: Session) -> None:
    with pytest.raises(PipelineError, match="x is unknown"):
        registry.activate(session, "x")


def test_revoking_names_what_it_withdrew_and_leaves_the_active_model_to_be_replaced(session: Session) -> None:
    publish(session, "a", "b", "c")
    assert registry.revoke(session, ["a", "c", "nobody"]) == ["a"]
    assert registry.revoke(session, ["a"]) == []
    assert states(session) == {"a": REVOKED, "b": RETIRED, "c": ACTIVE}


def test_models_are_listed_newest_first(session: Session) -> None:
    publish(session, "b", "a", "c")
    assert [entry.model_id for entry in registry.listing(session)] == ["c", "a", "b"]
