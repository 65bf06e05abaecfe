"""Looks for secrets in whatever was written, in the forms in which bytes are written."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping


def forms_of(secret: bytes) -> set[bytes]:
    """How bytes may be written: as they are, hex, Base64 in its alphabets, escaped by JSON or by repr."""
    encoded = {base64.b64encode(secret).rstrip(b"="), base64.urlsafe_b64encode(secret).rstrip(b"=")}
    escaped = {repr(secret)[2:-1].encode(), json.dumps(secret.decode("latin-1"))[1:-1].encode()}
    return {secret, secret.hex().encode(), secret.hex().upper().encode()} | encoded | escaped


def found_in(content: bytes, secrets: Mapping[str, bytes]) -> set[str]:
    """The names of the secrets that stand in some form in the content."""
    return {name for name, secret in secrets.items() if any(form in content for form in forms_of(secret))}
