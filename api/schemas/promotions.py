"""A model on its way into service, decided by two people."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Self

from pydantic import Field, StrictBool, model_validator

from api.schemas.message import Message
from pipeline.approvals import Candidate

HELD_BY_OPERATORS = "operators sign with their own keys: `gridward registry sign`"
HELD_BY_STATION = "a demonstration: the station keeps these operators' keys, and signs with one for each person who approves"


class ReleaseFact(Message):
    """What a role would run: `model`, the SHA-256 of its manifest in hex."""

    role: str
    model: str
    version: int


class PromotionOrder(Message):
    """Whether to drop what operators were asked to sign before."""

    replace: StrictBool = Field(default=False, examples=[False])


class PromotionAnswer(Message):
    """A model whose promotion waits, or that is in service.

    to_sign: base64 of the bytes an operator signs with Ed25519; operators: key ids by name; needed: how many have to sign.
    """

    model_id: str
    state: str
    version: int
    releases: list[ReleaseFact]
    to_sign: str
    signed_by: list[str]
    operators: dict[str, str]
    needed: int
    keys_are_held: str

    @classmethod
    def of(cls, candidate: Candidate, state: str) -> Self:
        """What may be told of a promotion. state: `waits`, or `in-service`."""
        return cls(
            model_id=candidate.model_id,
            state=state,
            version=candidate.version,
            releases=[ReleaseFact.model_validate(release) for release in candidate.releases],
            to_sign=base64.b64encode(candidate.content).decode("ascii"),
            signed_by=list(candidate.signed_by),
            operators=dict(candidate.operators),
            needed=candidate.needed,
            keys_are_held=HELD_BY_STATION if candidate.demo else HELD_BY_OPERATORS,
        )


class ApprovalOrder(Message):
    """An operator's signature over `to_sign`, base64, with the key's id; both left out where the station keeps demo keys."""

    key_id: Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$", examples=["3f9a1c0de4b7528896aa01d3c5e7f420"])] = ""
    signature: Annotated[str, Field(max_length=100)] = ""

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if bool(self.key_id) != bool(self.signature):
            raise ValueError("send key_id and signature, or neither")
        if self.signature and len(self.signature_bytes) != 64:
            raise ValueError("an Ed25519 signature has 64 bytes")
        return self

    @property
    def signature_bytes(self) -> bytes:
        """The signature's bytes. Raises ValueError for text that is not base64."""
        try:
            return base64.b64decode(self.signature, validate=True)
        except binascii.Error:
            raise ValueError("the signature is not base64") from None


class RetirementOrder(Message):
    """Why a model is put aside; it stands in the audit log."""

    reason: str = Field(min_length=1, max_length=500, examples=["superseded"])
