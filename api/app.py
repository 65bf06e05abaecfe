"""The HTTP service, made from a station that answers and its settings.

A request passes: middleware.RequestFrame → middleware.BodyLimit → guards (token, rate, permission) → schemas → a route.
Every route is a plain function, so that the framework runs it in its thread pool.
"""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api import error_responses
from api.middleware import BodyLimit, RequestFrame
from api.routes import audit, forecasts, health, models, providers, retraining
from pipeline.serving import Serving
from pipeline.settings import Settings
from security.errors import GridwardError
from security.rate_limit import RateLimiter


def create_app(serving: Serving, settings: Settings) -> FastAPI:
    """The service over `serving`. Its rate budget starts full; two apps keep two budgets."""
    app = FastAPI(
        title="Gridward",
        summary="Day-ahead electricity demand forecasts that stay right while somebody tries to make them fail",
        redoc_url=None,
    )
    app.state.serving = serving
    app.state.limiter = RateLimiter(settings.rate_limit_per_minute)
    app.add_middleware(BodyLimit)
    app.add_middleware(RequestFrame)
    app.add_exception_handler(GridwardError, error_responses.of_gridward_error)
    app.add_exception_handler(RequestValidationError, error_responses.of_invalid_request)
    app.add_exception_handler(HTTPException, error_responses.of_http_exception)
    for routes in (forecasts, models, providers, retraining, audit, health):
        app.include_router(routes.router)
    return app
