"""A grammar of requests that somebody with bad intentions, or none, might send: drawn from OpenAPI, seeded, and twisted.

Every attempt begins as a request that the service's own OpenAPI document calls right, for one of its operations, with ids
that earlier answers told; then one thing about it is twisted (`Grammar.KINDS`). So the fuzzer knows every route that there
is, gets past the gates before it breaks something, and needs no list of its own.
"""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from benchmarks.api_hostile_values import (
    ACCEPTS,
    BROKEN_JSON,
    CONTENT_TYPES,
    METHODS,
    ODD_HEADERS,
    REFUSED_TOKENS,
    TEXTS,
    VALUES,
)
from benchmarks.api_samples import Operation, Samples, operations_of

TOO_MUCH = 80_000


@dataclass(frozen=True)
class Attempt:
    """One request. path and query are written as for the wire; a header `authorization` here outdoes the role's token.
    permission: what the operation asks of its caller.
    """

    kind: str
    operation: str
    permission: str | None
    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    chunks: tuple[bytes, ...]


class Grammar:
    """Attempts without end. openapi: the document; the same `seed` and the same answers make the same attempts."""

    def __init__(self, openapi: Mapping[str, Any], seed: int) -> None:
        self.operations = operations_of(openapi)
        self._chance = random.Random(seed)  # noqa: S311 (attempts, no secret)
        self.samples = Samples(openapi, self._chance)
        self._keys: deque[str] = deque(["once", "twice"], maxlen=30)

    def attempt(self) -> Attempt:
        """The next one: an operation at random, and one twist."""
        return self.twisted(self._chance.choice(self.operations), self._chance.choice(list(KINDS)))

    def twisted(self, operation: Operation, kind: str) -> Attempt:
        """A right request for `operation` with this kind of twist."""
        return KINDS[kind](self, replace(self.right(operation), kind=kind), operation)

    def right(self, operation: Operation) -> Attempt:
        """What the document calls right, as far as it says."""
        path, query, headers = operation.path, [], []
        for parameter in operation.parameters:
            name, place = parameter["name"], parameter["in"]
            if place != "path" and not parameter.get("required") and self._chance.random() < 0.5:
                continue
            value = self.samples.parameter(name, parameter.get("schema", {}))
            if place == "path":
                path = path.replace(f"{{{name}}}", quote(value, safe=""))
            elif place == "query":
                query.append(f"{name}={quote(value, safe='')}")
            elif place == "header":
                headers.append((name.lower(), value))
        chunks: tuple[bytes, ...] = ()
        if operation.body is not None:
            headers.append(("content-type", "application/json"))
            chunks = (_written(self.samples.sample(operation.body)),)
        shown = f"{operation.method} {operation.path}"
        return Attempt("right", shown, operation.permission, operation.method, path, "&".join(query), tuple(headers), chunks)

    # The twists. Each changes one thing about a right request.

    def _value(self, attempt: Attempt, _: Operation) -> Attempt:
        """One member of the body, at any depth, becomes something else."""
        body = json.loads(b"".join(attempt.chunks) or b"{}")
        places = list(_places(body))
        if not places:
            return replace(attempt, chunks=(_written(self._chance.choice(VALUES)),))
        holder, key = self._chance.choice(places)
        holder[key] = self._chance.choice(VALUES if self._chance.random() < 0.7 else TEXTS)
        return replace(attempt, chunks=(_written(body),))

    def _members(self, attempt: Attempt, _: Operation) -> Attempt:
        """A member too many, one too few, or one twice."""
        body = json.loads(b"".join(attempt.chunks) or b"{}")
        if not isinstance(body, dict) or not body:
            return replace(attempt, chunks=(_written({"surplus": self._chance.choice(VALUES)}),))
        name = self._chance.choice(list(body))
        twist = self._chance.randrange(3)
        if twist == 0:
            body.pop(name)
        elif twist == 1:
            body[self._chance.choice(("surplus", "role", "subject", "__class__", ""))] = self._chance.choice(VALUES)
        else:
            again = json.dumps({name: self._chance.choice(VALUES)}).encode()
            return replace(attempt, chunks=(_written(body)[:-1] + b"," + again[1:],))
        return replace(attempt, chunks=(_written(body),))

    def _text(self, attempt: Attempt, _: Operation) -> Attempt:
        """A body that is no JSON, or cut off."""
        whole = b"".join(attempt.chunks)
        cut = whole[: self._chance.randrange(len(whole))] if whole else b"{"
        return replace(attempt, chunks=(self._chance.choice((cut, *BROKEN_JSON)),))

    def _chunked(self, attempt: Attempt, _: Operation) -> Attempt:
        """A body in many pieces, or far too much of it; no length announced."""
        whole = b"".join(attempt.chunks) or b"{}"
        if self._chance.random() < 0.3:
            return replace(attempt, chunks=tuple(b" " * 4096 for _ in range(TOO_MUCH // 4096)))
        return replace(attempt, chunks=tuple(whole[at : at + 3] for at in range(0, min(len(whole), 600), 3)))

    def _content_type(self, attempt: Attempt, _: Operation) -> Attempt:
        return self._with(attempt, "content-type", self._chance.choice(CONTENT_TYPES))

    def _accept(self, attempt: Attempt, _: Operation) -> Attempt:
        return self._with(attempt, "accept", self._chance.choice(ACCEPTS))

    def _header(self, attempt: Attempt, _: Operation) -> Attempt:
        for name, value in self._chance.sample(ODD_HEADERS, self._chance.randint(1, 3)):
            attempt = self._with(attempt, name, value)
        return attempt

    def _idempotency(self, attempt: Attempt, _: Operation) -> Attempt:
        """A key of one's own, or one that somebody used for something else."""
        if self._chance.random() < 0.3:
            self._keys.append(f"key-{self._chance.randrange(10**6)}")
        return self._with(attempt, "idempotency-key", self._chance.choice(self._keys))

    def _query(self, attempt: Attempt, operation: Operation) -> Attempt:
        names = [parameter["name"] for parameter in operation.parameters if parameter["in"] == "query"]
        names += ["limit", "after", "cursor", "surplus", "", "day", "a[]"]
        said = [f"{self._chance.choice(names)}={self._hostile_text()}" for _ in range(self._chance.randint(1, 4))]
        return replace(attempt, query="&".join([attempt.query, *said]).strip("&"))

    def _path(self, attempt: Attempt, operation: Operation) -> Attempt:
        """A segment becomes something else, or the path as a whole is bent."""
        parts = attempt.path.split("/")
        bent = (
            attempt.path + "/", "/" + attempt.path, attempt.path.upper(), attempt.path + "/" + self._hostile_text(),
            attempt.path.replace("/v1", "/v1/.."), attempt.path + "%2f..", attempt.path + ";x=y", attempt.path + "%00",
            operation.path, "/" + self._hostile_text(), "/v1", "/v2" + attempt.path, "/docs", "/openapi.json", "/metrics",
        )  # fmt: skip
        if self._chance.random() < 0.5:
            return replace(attempt, path=self._chance.choice(bent))
        parts[self._chance.randrange(1, len(parts))] = self._hostile_text()
        return replace(attempt, path="/".join(parts))

    def _cursor(self, attempt: Attempt, _: Operation) -> Attempt:
        """A cursor that an answer told, with one character changed or cut."""
        cursors = [*self.samples.told("next", "cursor"), "eyJhIjoxfQ", "AAAA"]
        told = self._chance.choice(cursors)
        at = self._chance.randrange(len(told))
        tampered = self._chance.choice((told[:at], told[:at] + "A" + told[at + 1 :], told + told, told[::-1]))
        return replace(attempt, query=f"cursor={quote(tampered, safe='')}&limit=2")

    def _method(self, attempt: Attempt, _: Operation) -> Attempt:
        return replace(attempt, method=self._chance.choice(METHODS))

    def _token(self, attempt: Attempt, _: Operation) -> Attempt:
        return self._with(attempt, "authorization", self._chance.choice(REFUSED_TOKENS))

    def _right(self, attempt: Attempt, _: Operation) -> Attempt:
        return attempt

    def _hostile_text(self) -> str:
        text = self._chance.choice(TEXTS)
        # Half of them as they are: what holds a per cent sign is meant to be decoded on the way.
        written = text if "%" in text and self._chance.random() < 0.5 else quote(text, safe="")
        return "".join(character for character in written if " " < character <= "~")

    def _with(self, attempt: Attempt, name: str, value: str) -> Attempt:
        kept = tuple(header for header in attempt.headers if header[0] != name or self._chance.random() < 0.1)
        return replace(attempt, headers=(*kept, (name, value)))


Twist = Callable[[Grammar, Attempt, Operation], Attempt]
KINDS: dict[str, Twist] = {
    name.removeprefix("_"): getattr(Grammar, name)
    for name in (
        "_right", "_value", "_members", "_text", "_chunked", "_content_type", "_accept", "_header", "_idempotency", "_query",
        "_path", "_cursor", "_method", "_token",
    )
}  # fmt: skip


def _written(value: Any) -> bytes:
    """As JSON, with what JSON does not know (NaN, a lone surrogate) written all the same."""
    return json.dumps(value).encode()


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in a document."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in pairs:
        yield content, key
        yield from _places(value)
