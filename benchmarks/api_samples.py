"""Requests that an OpenAPI document calls right: its operations, values that fit their schemas, ids that answers told."""

from __future__ import annotations

import json
import random
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

KEPT_IDS = 30
DEEPEST = 6
METHOD_NAMES = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


@dataclass(frozen=True)
class Operation:
    """One method of one path: its parameters, the schema of its body and its permission, as the document has them."""

    method: str
    path: str
    parameters: tuple[dict[str, Any], ...]
    body: dict[str, Any] | None
    permission: str | None


def operations_of(openapi: Mapping[str, Any]) -> list[Operation]:
    """Every operation of the document."""
    return [
        Operation(method.upper(), path, tuple(told.get("parameters", ())), _body_schema(told), told.get("x-permission"))
        for path, methods in openapi["paths"].items()
        for method, told in methods.items()
        if method in METHOD_NAMES
    ]


class Samples:
    """Values by schema. openapi: the document that the schemas refer to."""

    def __init__(self, openapi: Mapping[str, Any], chance: random.Random) -> None:
        self._openapi = openapi
        self._chance = chance
        self._known: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=KEPT_IDS))

    def told(self, *names: str) -> list[str]:
        """What answers told under these names."""
        return [value for name in names for value in self._known.get(name, ())]

    def learn(self, body: bytes) -> None:
        """Keep the ids, names and cursors of an answer, to ask for them later."""
        try:
            content = json.loads(body)
        except ValueError:
            return
        for name, value in _leaves(content):
            if isinstance(value, (str, int)) and 0 < len(str(value)) < 300:
                self._known[name].append(str(value))

    def sample(self, schema: Mapping[str, Any], depth: int = 0) -> Any:
        """A value that fits the schema, as far as simple means reach: an example of it, or something of its type."""
        schema = self._resolved(schema)
        if "examples" in schema and self._chance.random() < 0.6:
            return self._chance.choice(schema["examples"])
        for several in ("anyOf", "oneOf", "allOf"):
            if several in schema:
                return self.sample(self._chance.choice(schema[several]), depth + 1)
        if "const" in schema or "enum" in schema:
            return self._chance.choice(schema.get("enum") or [schema["const"]])
        return self._of_type(schema, depth)

    def _of_type(self, schema: Mapping[str, Any], depth: int) -> Any:
        chance = self._chance
        kind = schema.get("type")
        if kind == "object":
            required = set(schema.get("required", ()))
            members = schema.get("properties", {}).items()
            return {
                name: self._member(name, member, depth)
                for name, member in members
                if name in required or chance.random() < 0.4
            }
        if kind == "array":
            fewest = schema.get("minItems", 0)
            size = chance.randint(fewest, min(schema.get("maxItems", 50), max(fewest, 50)))
            return [] if depth > DEEPEST else [self.sample(schema.get("items", {}), depth + 1) for _ in range(size)]
        if kind in ("integer", "number"):
            low = schema.get("minimum", schema.get("exclusiveMinimum", -5))
            high = max(low, schema.get("maximum", schema.get("exclusiveMaximum", 100)))
            return int(chance.randint(int(low), int(high))) if kind == "integer" else round(chance.uniform(low, high), 3)
        if kind == "boolean":
            return chance.random() < 0.5
        if schema.get("format") in ("date", "date-time"):
            # Of the small station: learned from, open to be asked for, and not there yet.
            day = f"2023-{chance.randint(4, 6):02d}-{chance.randint(1, 28):02d}"
            return day if schema["format"] == "date" else f"{day}T00:00:00Z"
        return None if kind == "null" else chance.choice(("multi-source", "test", "x", "a reason"))

    def _member(self, name: str, schema: Mapping[str, Any], depth: int) -> Any:
        if self._known.get(name) and self._resolved(schema).get("type") == "string" and self._chance.random() < 0.5:
            return self._chance.choice(self._known[name])
        return self.sample(schema, depth + 1)

    def parameter(self, name: str, schema: Mapping[str, Any]) -> str:
        """An id that an answer told under this name, or under any name ending alike; else a sample."""
        alike = [
            known for key, known in self._known.items() if known and (key == name or key.endswith(("id", "name", "next")))
        ]
        if self._known.get(name) and self._chance.random() < 0.7:
            return self._chance.choice(self._known[name])
        if alike and self._resolved(schema).get("type", "string") == "string" and self._chance.random() < 0.6:
            return self._chance.choice(self._chance.choice(alike))
        value = self.sample(schema)
        return value if isinstance(value, str) else json.dumps(value)

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in schema:
            found: Any = self._openapi
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            schema = found
        return schema


def _body_schema(told: Mapping[str, Any]) -> dict[str, Any] | None:
    content = told.get("requestBody", {}).get("content", {})
    schema: dict[str, Any] | None = content.get("application/json", {}).get("schema") if content else None
    return schema


def _leaves(content: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _leaves(value, key)
    elif isinstance(content, list):
        for value in content[:20]:
            yield from _leaves(value, name)
    else:
        yield name, content
