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
from api.tls import CertificateOption, ClientCaOption, KeyOption, tls_named
from pipeline.errors import PipelineError
from pipeline.station import note, protection_in
from security.errors import UnavailableError
from security.identity import LONGEST_LIFETIME, Role, issue_token, new_token_id

_LOG = logging.getLogger("gridward.serve")
_LONGEST_MINUTES = int(LONGEST_LIFETIME / timedelta(minutes=1))


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: GRIDWARD_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on, 0 for a free one; default: GRIDWARD_PORT.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer; several need GRIDWARD_REDIS_URL.")] = 1,
    tls_cert: CertificateOption = None,
    tls_key: KeyOption = None,
    client_ca: ClientCaOption = None,
) -> None:
    """Answer over HTTP until stopped. Prints one JSON line, `listening`, with the address; logs go to stderr."""
    from api.server import run_here, run_workers, service_app  # noqa: PLC0415 (takes two seconds to import)

    settings, tls = open_settings(), tls_named(tls_cert, tls_key, client_ca)
    if workers > 1 and not settings.redis_url.get_secret_value():
        raise PipelineError(
            f"{workers} workers would give each caller {workers} budgets", where="GRIDWARD_REDIS_URL", mend="set it first"
        )
    # What stands in the way is told before anything listens; workers open the station once more, each for itself.
    app = service_app() if workers == 1 else None
    if app is None:
        open_serving().station.engine.dispose()
    listener = _listen(host or settings.host, settings.port if port is None else port)
    bound_host, bound_port = listener.getsockname()[:2]
    shown, scheme = f"[{bound_host}]" if ":" in bound_host else bound_host, "http" if tls is None else "https"
    line = {"event": "listening", "host": bound_host, "port": bound_port, "address": f"{scheme}://{shown}:{bound_port}"}
    log_to_stderr()
    if protection_in(settings).by == "none":
        _LOG.warning("the keys are protected by nothing but the mode of their files: see gridward keys status")
    typer.echo(json.dumps(line))
    if app is None:
        run_workers(listener, tls, workers)
    else:
        run_here(app, listener, tls)


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
    station, now, token_id = open_own_station(), datetime.now(UTC), new_token_id()
    text = issue_token(station.signers["token"], subject, role, lifetime, now, token_id=token_id)
    details = {"role": role.value, "minutes": lifetime / timedelta(minutes=1), "token_id": token_id}
    note(station, actor=ACTOR, action="access.granted", subject=subject, details=details, at=now)
    typer.echo(text)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UnavailableError(
            f"cannot listen: {error.strerror}", where=f"{host}, port {port}", mend="choose another with --host, --port"
        ) from None
