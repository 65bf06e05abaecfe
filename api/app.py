"""The HTTP service, made from a station that answers and its settings.

A request passes: middleware.RequestFrame → accounting.Accounting → middleware.BodyLimit → guards (identity, rate,
permission, idempotency) → schemas → query_gate → a route. Routes that answer from what is kept ready are coroutines; all
others are plain functions, which the framework runs in its thread pool.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api import error_responses
from api.accounting import Accounting
from api.house import House, house_for
from api.middleware import BodyLimit, RequestFrame
from api.openapi import document
from api.routes import ROUTERS
from pipeline.serving import Serving
from pipeline.settings import Settings
from security.errors import GridwardError


def create_app(serving: Serving, settings: Settings) -> FastAPI:
    """The service over `serving`. Its budgets start full; two apps without a Redis keep two of each."""
    house = house_for(serving, settings)
    app = FastAPI(
        title="Gridward",
        summary="Day-ahead electricity demand forecasts that stay right while somebody tries to make them fail",
        version="1",
        redoc_url=None,
        # A redirect would carry the caller's own Host back to it.
        redirect_slashes=False,
        lifespan=partial(_open_house, house),
    )
    app.state.house = house
    # The last one added is the outermost.
    app.add_middleware(BodyLimit)
    app.add_middleware(Accounting, writer=house.writer, state=house.state, clock=house.clock)
    app.add_middleware(RequestFrame, metrics=house.metrics, tracing=house.tracing)
    app.add_exception_handler(GridwardError, error_responses.of_gridward_error)
    app.add_exception_handler(RequestValidationError, error_responses.of_invalid_request)
    app.add_exception_handler(HTTPException, error_responses.of_http_exception)
    for router in ROUTERS:
        app.include_router(router)
    app.state.routes = [route for router in ROUTERS for route in router.routes]
    app.openapi = partial(document, app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


@asynccontextmanager
async def _open_house(house: House, _app: FastAPI) -> AsyncIterator[None]:
    house.start()
    try:
        yield
    finally:
        await house.close()
