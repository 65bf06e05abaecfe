"""POST /v1/forecasts, GET /v1/forecasts/{day}, GET /v1/forecasts/by-id/{forecast_id}.

A forecast that is ready is answered without a thread and without a query. What the caller is shown is drawn from it by the
verdict of the query gate (`pipeline.disguise`).
"""

from __future__ import annotations

from datetime import date
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from api.forecast_answers import ShownDay, etag_of
from api.forecast_formats import WRITERS, Format, format_asked
from api.guards import ServingHere, account, caller_of, guarded_router, house_of, needs
from api.house import House
from api.query_gate import AskedForecast, ask, watermark
from api.schemas.forecasts import (
    ForecastAnswer,
    ForecastOrder,
    ForecastQuestion,
    ForecastTraceAnswer,
    IsoDay,
    SourceTraceAnswer,
)
from api.schemas.message import PLAIN_ID
from data.provenance import ForecastRecord
from pipeline.database import reading
from pipeline.disguise import COARSE_FROM, disguised
from pipeline.predict import explain
from pipeline.prepared_day import PreparedDay
from pipeline.trace import ForecastTrace, trace_forecast
from pipeline.weather_standing import weather_trust
from security.identity import Identity
from security.permissions import Permission
from security.query_guard import Verdict

router = guarded_router("forecasts")

EXAMPLE = {
    "forecast_id": "f-2b0f6a51c3d94e87",
    "day": "2014-12-20",
    "model_id": "m-5f1c0e7a9b3d2468",
    "snapshot_id": "s-0a1b2c3d4e5f6071",
    "weather": "multi-source",
    "sources": ["aurora", "boreas", "cirrus"],
    "gate_closure": "2014-12-18T22:00:00Z",
    "unit": "MW",
    "days": [
        {
            "day": "2014-12-20",
            "days_ahead": 1,
            "forecast_id": "f-2b0f6a51c3d94e87",
            "model_id": "m-5f1c0e7a9b3d2468",
            "snapshot_id": "s-0a1b2c3d4e5f6071",
            "weather": "multi-source",
            "sources": ["aurora", "boreas", "cirrus"],
            "trust": None,
        }
    ],
    "intervals": [
        {
            "timestamp": "2014-12-19T13:00:00Z",
            "forecast_mw": 4310.0,
            "quantiles": {"0.1": 4205.0, "0.5": 4310.0, "0.9": 4425.0},
            "certified": None,
            "explained": None,
        }
    ],
}
ANSWERED: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ForecastAnswer,
        "description": "The forecast, as JSON, CSV or Parquet by `Accept`: the same numbers in all three",
        "content": {
            Format.JSON: {"example": EXAMPLE},
            Format.CSV: {"schema": {"type": "string"}},
            Format.PARQUET: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Accept, Authorization"}


@router.post("/v1/forecasts", openapi_extra=needs(Permission.READ_FORECAST), responses=ANSWERED)
async def make_forecast(order: ForecastOrder, request: Request) -> Response:
    """Forecast a local day, or up to a week from there on, from what was known at the first day's gate closure."""
    body, kind = await _answer(request, order.day, order)
    return Response(body, media_type=kind)


@router.get(
    "/v1/forecasts/{day}",
    openapi_extra=needs(Permission.READ_FORECAST),
    responses=ANSWERED | {304: {"description": "What the caller holds is what would be answered"}},
)
async def read_forecast(
    day: Annotated[IsoDay, Path()], question: Annotated[ForecastQuestion, Query()], request: Request
) -> Response:
    """The same by GET: with an entity tag, so that who holds this very answer is told so and not sent it again."""
    body, kind = await _answer(request, day, question)
    headers = {"ETag": etag_of(body), **_PRIVATE}
    if _holds(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=int(HTTPStatus.NOT_MODIFIED), headers=headers)
    return Response(body, media_type=kind, headers=headers)


@router.get("/v1/forecasts/by-id/{forecast_id}", openapi_extra=needs(Permission.READ_FORECAST))
def read_trace(
    forecast_id: Annotated[str, Path(max_length=32, pattern=PLAIN_ID, examples=[EXAMPLE["forecast_id"]])],
    serving: ServingHere,
) -> ForecastTraceAnswer:
    """What a forecast rests on: its model, the training set of that, and what each provider had to do with both."""
    with reading(serving.station.engine) as session:
        known = session.get(ForecastRecord, forecast_id) is not None
    if not known:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no forecast of this id; forecasts answer theirs as `forecast_id`")
    return _traced(trace_forecast(serving.station, forecast_id, serving.clock()))


async def _answer(request: Request, day: date, question: ForecastQuestion) -> tuple[bytes, Format]:
    """The answer's bytes and what they are. A format that we do not have, and a day that is no forecast, are refused
    before anything is charged.
    """
    wanted = format_asked(request)
    house, caller = house_of(request), caller_of(request)
    house.serving.require_unlearned(day)
    asked = AskedForecast(day, question.days, len(question.quantiles), question.explain)
    verdict = await ask(house, request, caller, asked)
    serving = house.serving
    prepared = serving.prepared_together(day, question.days)
    if prepared is None:
        prepared = await run_in_threadpool(serving.prepare_together, day, question.days, by=caller.subject)
    for one in prepared:
        one.require_unlearned()
    if question.explain or question.trust or wanted is not Format.JSON:
        body = await run_in_threadpool(_written, house, caller, verdict, prepared, question, wanted)
    else:
        body = _written(house, caller, verdict, prepared, question, wanted)
    first = prepared[0].forecast
    account(
        request,
        action="forecast.served",
        subject=first.forecast_id,
        day=str(day),
        model=first.model_id,
        weather=first.weather,
        gate=first.gate_closure.isoformat(),
        **({"further": [one.forecast.forecast_id for one in prepared[1:]]} if len(prepared) > 1 else {}),
    )
    return body, wanted


def _written(
    house: House,
    caller: Identity,
    verdict: Verdict,
    prepared: list[PreparedDay],
    question: ForecastQuestion,
    wanted: Format,
) -> bytes:
    shown = [_shown(house, caller, verdict, one, question) for one in prepared]
    return WRITERS[wanted](shown, question.quantiles)


def _shown(house: House, caller: Identity, verdict: Verdict, prepared: PreparedDay, question: ForecastQuestion) -> ShownDay:
    """One day as this caller may see it."""
    day, serving = prepared.forecast.day, house.serving
    # Neither is coarsened: what a caller who asks too much is told is told roughly, or not.
    finely = verdict.level < COARSE_FROM
    return ShownDay(
        prepared,
        disguised(prepared.says, verdict.level, verdict.seed, watermark(house, caller, day)),
        explanation=explain(prepared.model, prepared.known, day) if question.explain and finely else None,
        certified=question.certificate and finely,
        trust=weather_trust(serving.station, prepared, serving.clock()) if question.trust else None,
    )


def _holds(if_none_match: str, etag: str) -> bool:
    """Whether the caller says that it holds this very answer, or any (RFC 9110, 13.1.2)."""
    held = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return etag in held or held == ["*"]


def _traced(trace: ForecastTrace) -> ForecastTraceAnswer:
    """Without who asked for it first: that is between them and the auditor."""
    sources = [
        SourceTraceAnswer(
            provider=source.provider,
            learned_until=source.learned_until,
            forecast=source.forecast,
            then=source.then,
            now=source.now,
            delivered=None if source.delivered is None else source.delivered.readings,
        )
        for source in trace.sources
    ]
    return ForecastTraceAnswer(
        forecast_id=trace.forecast_id,
        day=date.fromisoformat(trace.day),
        made_at=trace.made_at,
        # What the answers themselves are told to: the exact sum would undo their disguise.
        energy_mwh=float(f"{trace.energy_mwh:.4g}"),
        model_id=trace.model_id,
        model_state=trace.model_state,
        weather_policy=trace.weather_policy,
        published_by=trace.published_by,
        snapshot_id=trace.snapshot_id,
        snapshot_as_of=trace.snapshot_as_of,
        lake=trace.lake,
        sources=sources,
    )
