from __future__ import annotations

import base64
import json

import pytest

from tests.unit.security.secret_search import found_in


@pytest.mark.parametrize("form", ["raw", "hex", "base64", "json", "repr"])
def test_the_search_knows_the_forms_in_which_bytes_are_written(form: str) -> None:
    secret = bytes(range(120, 152))
    written = {
        "raw": secret,
        "hex": secret.hex().encode(),
        "base64": base64.b64encode(secret),
        "json": json.dumps(secret.decode("latin-1")).encode(),
        "repr": repr(secret).encode(),
    }[form]
    assert found_in(b"before " + written + b" after", {"it": secret}) == {"it"}
    assert found_in(b"before " + written[:-4] + b" after", {"it": secret}) == set()
