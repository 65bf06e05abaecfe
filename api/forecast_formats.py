"""In which format a forecast is answered: by the request's `Accept`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus

from fastapi import Request
from starlette.exceptions import HTTPException

from api.forecast_answers import ShownDay, as_csv, as_json, as_parquet


class Format(StrEnum):
    """What can be answered, as media types; the first that suits is taken."""

    JSON = "application/json"
    CSV = "text/csv"
    PARQUET = "application/vnd.apache.parquet"


WRITERS: Mapping[Format, Callable[[Sequence[ShownDay], Sequence[float]], bytes]] = {
    Format.JSON: as_json,
    Format.CSV: as_csv,
    Format.PARQUET: as_parquet,
}
_ANY = ("", "*/*", Format.JSON)
_MOST_RANGES = 20


def format_asked(request: Request) -> Format:
    """The format that the caller likes best; JSON where it does not mind. Raises HTTPException 406 for none of ours."""
    accept = request.headers.get("accept", "")
    if accept in _ANY:
        return Format.JSON
    liked = dict.fromkeys(Format, 0.0)
    # The closer a range is to one type, the more it counts (RFC 9110, 12.5.1).
    for media, weight in sorted(_ranges(accept), key=lambda one: one[0].count("*"), reverse=True):
        for kind in Format:
            if media in ("*/*", f"{kind.partition('/')[0]}/*", kind):
                liked[kind] = weight
    best = max(Format, key=lambda kind: liked[kind])
    if liked[best] <= 0:
        raise HTTPException(HTTPStatus.NOT_ACCEPTABLE, f"answers are {', '.join(Format)}")
    return best


def _ranges(accept: str) -> list[tuple[str, float]]:
    found = []
    for part in accept.split(",")[:_MOST_RANGES]:
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights = [piece[2:] for piece in parameters if piece.startswith("q=")]
        try:
            found.append((media, float(weights[0]) if weights else 1.0))
        except ValueError:
            # A weight that is no number: the range is as if it had not been named.
            continue
    return found
