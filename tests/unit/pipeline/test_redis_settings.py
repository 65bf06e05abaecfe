from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.settings import Settings


@pytest.mark.parametrize("url", ["redis://:half/rest@cache:6379", "redis://cache:port"])
def test_a_password_that_breaks_the_address_is_not_repeated(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDWARD_REDIS_URL", url)

    with pytest.raises(ValidationError, match="%2F") as refused:
        Settings()

    assert "half" not in str(refused.value)
    assert "rest" not in str(refused.value)


def test_an_address_of_a_redis_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDWARD_REDIS_URL", "rediss://:p%2Fq@cache:6380/2")

    assert Settings().redis_url.get_secret_value().endswith("/2")
