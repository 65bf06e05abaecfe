"""The command line: `gridward COMMAND`. Every refusal is one line on stderr, `error: …`, and an exit code of docs/cli.md."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from api.commands import (
    access,
    attest,
    audit,
    audit_data,
    backtest,
    backup,
    case_study,
    database,
    fuse,
    ingest,
    keys,
    promotions,
    recognise,
    recover,
    registry,
    service,
    snapshots,
    station,
    train,
    verify_install,
)
from security.errors import GridwardError, UnavailableError

_LOG = logging.getLogger("gridward.cli")

app = typer.Typer(
    name="gridward",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Day-ahead electricity demand forecasts that stay right while somebody tries to make them fail.",
)
snapshot_app = typer.Typer(no_args_is_help=True, help="Frozen training sets.")
audit_app = typer.Typer(no_args_is_help=True, help="The log of who did what.")
backup_app = typer.Typer(no_args_is_help=True, help="The station in another folder, encrypted and signed.")
attest_app = typer.Typer(no_args_is_help=True, help="What is signed about a model.")
keys_app = typer.Typer(no_args_is_help=True, help="The station's secret keys.")
registry_app = typer.Typer(no_args_is_help=True, help="Which model runs, and who decides it.")
api_key_app = typer.Typer(no_args_is_help=True, help="Keys for programs that ask the service.")
database_app = typer.Typer(no_args_is_help=True, help="The database's schema and its versions.")
trace_app = typer.Typer(no_args_is_help=True, help="From a source to everything it touched, and back.")

for _command in (
    case_study.case_study,
    backtest.backtest,
    train.train,
    ingest.ingest,
    fuse.fuse,
    service.serve,
    service.token,
    station.forecast,
    station.models,
    station.providers,
    station.revoke,
    station.readmit,
    station.trust,
    station.retrain,
    recover.recover,
    recognise.recognise,
):
    app.command()(_command)
app.command("audit-data")(audit_data.audit_snapshot)
app.command("operator-key")(registry.operator_key)
app.command("verify-install")(verify_install.verify_install)
app.command("token-revoke")(access.token_revoke)
api_key_app.command("create")(access.create)
api_key_app.command("list")(access.list_keys)
api_key_app.command("revoke")(access.revoke_key)
snapshot_app.command("list")(snapshots.list_snapshots)
snapshot_app.command("verify")(snapshots.verify)
snapshot_app.command("restore")(snapshots.restore)
backup_app.command("create")(backup.create)
backup_app.command("verify")(backup.verify)
backup_app.command("restore")(backup.restore)
backup_app.command("list")(backup.list_backups)
backup_app.command("prune")(backup.prune)
attest_app.command("show")(attest.show)
attest_app.command("verify")(attest.verify)
keys_app.command("status")(keys.status)
keys_app.command("protect")(keys.protect)
keys_app.command("rotate")(keys.rotate)
keys_app.command("rotate-token-key")(access.rotate_token_key)
registry_app.command("list")(registry.list_releases)
registry_app.command("sign")(promotions.sign)
registry_app.command("approve")(registry.approve)
registry_app.command("promote")(registry.promote)
registry_app.command("retire")(registry.retire)
registry_app.command("revoke")(registry.revoke)
registry_app.command("rotate-root")(registry.rotate_root)
registry_app.command("refresh")(registry.refresh)
registry_app.command("found-again")(registry.found_again)
registry_app.command("trust-restored")(registry.trust_restored)
database_app.command("status")(database.status)
database_app.command("upgrade")(database.upgrade)
database_app.command("downgrade")(database.downgrade)
audit_app.command("verify")(audit.verify)
audit_app.command("prove")(audit.prove)
audit_app.command("export")(audit.export)
trace_app.command("provider")(audit.trace_provider)
trace_app.command("forecast")(audit.trace_forecast)
trace_app.command("delivery")(audit.trace_delivery)
app.add_typer(snapshot_app, name="snapshot")
app.add_typer(backup_app, name="backup")
app.add_typer(attest_app, name="attest")
app.add_typer(keys_app, name="keys")
app.add_typer(registry_app, name="registry")
app.add_typer(audit_app, name="audit")
app.add_typer(api_key_app, name="api-key")
app.add_typer(database_app, name="database")
app.add_typer(trace_app, name="trace")


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Options that stand before the command."""
    logging.basicConfig(format="%(message)s")
    _LOG.setLevel(logging.DEBUG if debug else logging.WARNING)


def main() -> None:
    """Run a command and leave with its exit code: 2 for wrong usage, 130 when interrupted, else the error's own."""
    try:
        app()
    except GridwardError as error:
        _fail(error, error.exit_code)
    except OSError as error:
        problem = error.strerror or str(error) or type(error).__name__
        _fail(UnavailableError(f"cannot use this: {problem}", where=str(error.filename or "a file")), 5)
    except Exception as error:
        _fail(error, 1)


def _fail(error: Exception, exit_code: int) -> None:
    _LOG.debug("where it came from:", exc_info=error)
    text = " ".join(str(error).split())
    if not isinstance(error, GridwardError):
        text = f"{type(error).__name__}: {text} — unexpected; see more with `gridward --debug …`"
    typer.echo(f"error: {text}", err=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
