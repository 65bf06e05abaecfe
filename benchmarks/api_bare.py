"""The yardstick of the guarded service: the same forecast on a plain FastAPI route, `python -m benchmarks.api_bare`.

No token, no limit, no audit, no query guard, no disguise; the same order, the same cached day, the same writing of the
answer, the same web server. A second route does what a service without prepared days does: its inputs ready, it asks the
model anew for each answer. Of the station that the settings name. Prints one line, `listening`, as `gridward serve` does.
"""

from __future__ import annotations

import json
import socket

import uvicorn
from fastapi import FastAPI, Response
from fastapi.concurrency import run_in_threadpool

from api.console import open_serving
from api.forecast_answers import forecast_body
from api.schemas.forecasts import ForecastOrder
from forecasting.ensemble import EnsembleForecaster
from pipeline.serving import Serving

PATH, EVALUATED = "/bare", "/evaluated"


def bare_app(serving: Serving) -> FastAPI:
    """One route and nothing around it."""
    app = FastAPI()

    @app.post(PATH)
    async def bare(order: ForecastOrder) -> Response:
        prepared = serving.prepared(order.day)
        if prepared is None:
            prepared = await run_in_threadpool(serving.prepare, order.day)
        return Response(forecast_body(prepared, order.quantiles, prepared.says.quantiles_mw), media_type="application/json")

    @app.post(EVALUATED)
    def evaluated(order: ForecastOrder) -> Response:
        prepared = serving.prepare(order.day)
        forecaster = prepared.model.forecaster
        if not isinstance(forecaster, EnsembleForecaster):
            raise TypeError("this yardstick is for the ensemble")
        _, says = forecaster.predict_with_members(prepared.known, order.day)
        return Response(forecast_body(prepared, order.quantiles, says.quantiles_mw), media_type="application/json")

    return app


def main() -> None:
    app = bare_app(open_serving())
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = listener.getsockname()
    print(json.dumps({"event": "listening", "host": host, "port": port}), flush=True)
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, http="httptools", loop="uvloop")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
