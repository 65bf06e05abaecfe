"""The grammar knows every route of the document, begins with what is right, and twists it the same way twice."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks.api_asked import scope_of
from benchmarks.api_grammar import KINDS, Attempt, Grammar

ORDER = {
    "type": "object",
    "required": ["day", "quantiles"],
    "properties": {
        "day": {"type": "string", "format": "date"},
        "quantiles": {
            "type": "array",
            "items": {"type": "number", "minimum": 0.01, "maximum": 0.99},
            "minItems": 1,
            "maxItems": 9,
        },
        "kind": {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]},
    },
}
ID = {"name": "job_id", "in": "path", "required": True, "schema": {"type": "string"}}
LIMIT = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000}}
BODY = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}}
DOCUMENT = {
    "paths": {
        "/v1/orders": {"post": {"requestBody": BODY}, "get": {"parameters": [LIMIT]}},
        "/v1/jobs/{job_id}": {"parameters": [], "get": {"parameters": [ID]}, "delete": {"parameters": [ID]}},
    },
    "components": {"schemas": {"Order": ORDER}},
}


def attempts(seed: int, count: int = 400) -> list[Attempt]:
    grammar = Grammar(DOCUMENT, seed)
    return [grammar.attempt() for _ in range(count)]


def test_every_operation_of_the_document_is_attempted_in_every_way():
    made = attempts(1)
    assert {attempt.operation for attempt in made} == {
        "POST /v1/orders",
        "GET /v1/orders",
        "GET /v1/jobs/{job_id}",
        "DELETE /v1/jobs/{job_id}",
    }
    assert {attempt.kind for attempt in made} == set(KINDS)


def test_the_same_seed_makes_the_same_attempts():
    assert attempts(7) == attempts(7)
    assert attempts(7) != attempts(8)


def test_a_right_request_is_what_the_document_says():
    grammar = Grammar(DOCUMENT, 1)
    order = next(operation for operation in grammar.operations if operation.method == "POST")
    for _ in range(50):
        body = json.loads(b"".join(grammar.right(order).chunks))
        assert body.keys() <= ORDER["properties"].keys()  # type: ignore[attr-defined]
        assert body["day"].startswith("2023-")
        assert 1 <= len(body["quantiles"]) <= 9
        assert all(0.01 <= level <= 0.99 for level in body["quantiles"])


def test_ids_that_answers_told_are_asked_for():
    grammar = Grammar(DOCUMENT, 1)
    grammar.samples.learn(b'{"jobs": [{"job_id": "told-before"}]}')
    job = next(operation for operation in grammar.operations if "{job_id}" in operation.path)
    assert "/v1/jobs/told-before" in {grammar.right(job).path for _ in range(30)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_twist_makes_something_that_a_web_server_could_hand_on(kind: str):
    grammar = Grammar(DOCUMENT, 3)
    for operation in grammar.operations * 20:
        scope = scope_of(grammar.twisted(operation, kind), "token", 70_000)
        assert scope["path"].startswith("/")
        assert scope["client"][0] == "10.1.17.112"
        assert all(name == name.lower() for name, _ in scope["headers"])


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"right"}))
def test_nearly_every_twist_changes_the_right_request_it_began_with(kind: str):
    same = 0
    for seed in range(40):
        grammar = Grammar(DOCUMENT, seed)
        order = grammar.operations[0]
        # The same chance makes the same right request, before anything of it is twisted.
        same += replace(Grammar(DOCUMENT, seed).right(order), kind=kind) == grammar.twisted(order, kind)
    assert same < 10
