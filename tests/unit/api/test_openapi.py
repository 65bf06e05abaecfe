from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.small_station import Service


@pytest.fixture
def document(shared: Service) -> dict[str, Any]:
    return shared.ask("GET", "/openapi.json").json()  # type: ignore[no-any-return]


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{method} {path}", one) for path, methods in document["paths"].items() for method, one in methods.items()]


def test_every_route_tells_its_failures_as_problem_documents(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        failures = {code: answer for code, answer in operation["responses"].items() if not code.startswith("2")}
        assert "default" in failures, name
        for code, failure in failures.items():
            if code != "304":
                assert set(failure["content"]) == {"application/problem+json"}, (name, code)


def test_every_guarded_route_tells_what_its_gates_may_answer(document: dict[str, Any]) -> None:
    guarded = [operation for _, operation in operations(document) if "x-permission" in operation]

    assert guarded
    for operation in guarded:
        assert {"401", "403", "422", "429", "503"} <= set(operation["responses"])


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(value: object) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*(references(inner) for inner in value.values()))
        return set().union(*(references(inner) for inner in value)) if isinstance(value, list) else set()

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known
    assert "HTTPValidationError" not in str(document)


def test_every_body_that_is_asked_for_comes_with_an_example(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    asked = [one["requestBody"]["content"]["application/json"] for _, one in operations(document) if "requestBody" in one]

    for body in asked:
        name = body["schema"].get("$ref", body["schema"].get("anyOf", [{}])[0].get("$ref", "")).rpartition("/")[2]
        fields = schemas[name]["properties"].values()
        assert "example" in body or "examples" in schemas[name] or any("examples" in field for field in fields), name
