"""`gridward serve`, `gridward token`."""

from __future__ import annotations

import json
import logging
import socket
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from api.console import ACTOR, open_own_station, open_serving, open_settings
from api.logs import log_to_stderr
from pipeline.station import note, protection_in
from security.errors import UnavailableError
from security.identity import LONGEST_LIFETIME, Role, issue_token

_LOG = logging.getLogger("gridward.serve")
_LONGEST_MINUTES = int(LONGEST_LIFETIME / timedelta(minutes=1))


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: GRIDWARD_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on, 0 for a free one; default: GRIDWARD_PORT.")
    ] = None,
) -> None:
    """Answer over HTTP until stopped. Prints one JSON line, `listening`, with the address; logs go to stderr."""
    import uvicorn  # noqa: PLC0415 (only this command needs the server)

    from api.app import create_app  # noqa: PLC0415 (takes two seconds to import)

    settings = open_settings()
    serving = open_serving()
    listener = _listen(host or settings.host, settings.port if port is None else port)
    bound_host, bound_port = listener.getsockname()[:2]
    shown = f"[{bound_host}]" if ":" in bound_host else bound_host
    line = {"event": "listening", "host": bound_host, "port": bound_port, "address": f"http://{shown}:{bound_port}"}
    log_to_stderr()
    if protection_in(settings).by == "none":
        _LOG.warning("the keys are protected by nothing but the mode of their files: see gridward keys status")
    typer.echo(json.dumps(line))
    config = uvicorn.Config(
        create_app(serving, settings),
        log_config=None,
        access_log=False,
        server_header=False,
        # Who asks is who is connected: a forwarded header could name anybody (decides whose rate budget is spent).
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


def token(
    role: Annotated[Role, typer.Option(help="What the bearer may do.")],
    subject: Annotated[str, typer.Option(help="Who the bearer is; stands in the audit log.")],
    minutes: Annotated[
        int | None, typer.Option(min=1, max=_LONGEST_MINUTES, help="Lifetime; default: GRIDWARD_TOKEN_MINUTES.")
    ] = None,
) -> None:
    """Print a token for the service, and nothing else. Whoever may read the station's keys may issue any."""
    if not subject.strip():
        raise typer.BadParameter("--subject is empty: say who the bearer is")
    lifetime = timedelta(minutes=minutes or open_settings().token_minutes)
    station, now = open_own_station(), datetime.now(UTC)
    text = issue_token(station.signers["token"], subject, role, lifetime, now)
    details = {"role": role.value, "minutes": lifetime / timedelta(minutes=1)}
    note(station, actor=ACTOR, action="access.granted", subject=subject, details=details, at=now)
    typer.echo(text)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UnavailableError(
            f"cannot listen: {error.strerror}", where=f"{host}, port {port}", mend="choose another with --host, --port"
        ) from None
