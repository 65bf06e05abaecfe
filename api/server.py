"""Uvicorn as the service runs it: in this process, or as several workers on one socket.

Several workers are processes that share nothing but the socket, the database and Redis. One that dies is replaced; one that
cannot begin ends the service, since the next could not either.
"""

from __future__ import annotations

import gc
import logging
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from api.app import create_app
from api.console import open_serving, open_settings
from api.logs import log_to_stderr
from pipeline.database import SERVICE_PATIENCE_SECONDS
from security.errors import GridwardError, UnavailableError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from api.tls import Tls

_LOG = logging.getLogger("gridward.serve")
_WORKER = "api.server:worker_app"
# What is being answered when the service is told to stop may be finished; a stream of progress would never be.
_GRACE_SECONDS = 10
_HEALTH_SECONDS = 30
# The thread that commits the audit entries asks for the interpreter lock several times a commit: at Python's 5 ms, the
# answers of a busy loop would wait for each.
_SWITCH_SECONDS = 0.0002
# What lives for a minute (the callers' counts) is searched for garbage with everything made since the start, at Python's own
# numbers several times a second; all answers wait meanwhile.
_GARBAGE_THRESHOLDS = (10_000, 20, 200)


def run_here(app: FastAPI, listener: socket.socket, tls: Tls | None) -> None:
    """Answer in this process until told to stop."""
    uvicorn.Server(_config(app, tls, 1)).run(sockets=[listener])


def run_workers(listener: socket.socket, tls: Tls | None, workers: int) -> None:
    """Answer in `workers` processes until told to stop. Raises UnavailableError when one of them could not begin."""
    supervisor = Multiprocess(_config(_WORKER, tls, workers), sockets=[listener])
    supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise UnavailableError("a worker could not begin", where="serve", mend="read the log above")


def service_app() -> FastAPI:
    """The service over the station that the settings name."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    app = create_app(open_serving(SERVICE_PATIENCE_SECONDS), open_settings())
    # Readings and models stay: looking through them for garbage would stop all answers meanwhile.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    return app


def worker_app() -> FastAPI:
    """The service of one worker, which has to begin anew what the first process has: logs, station, model."""
    log_to_stderr()
    try:
        return service_app()
    except GridwardError as error:
        _LOG.error("%s", error)
        sys.exit(STARTUP_FAILURE)
    except Exception:
        # Replaced, it would end the same way, without end.
        _LOG.exception("a worker could not begin")
        sys.exit(STARTUP_FAILURE)


def _config(app: FastAPI | str, tls: Tls | None, workers: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=workers,
        # The loop is uvloop where there is one.
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        # Who asks is who is connected: a forwarded header could name anybody (decides whose rate budget is spent).
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_worker_healthcheck=_HEALTH_SECONDS,
        ssl_context_factory=None if tls is None else tls.for_uvicorn,
    )
