"""`gridward attest show`, `verify`: what is signed about a model, and whether it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from api.console import find_own_station, open_settings
from api.output import AsJson, print_facts, print_json, print_table
from security.errors import UnavailableError

if TYPE_CHECKING:
    from pipeline.station import Station

ModelId = Annotated[str, typer.Argument(help="The model, as `gridward models` lists it.")]


def show(model_id: ModelId) -> None:
    """Print the verified statements about a model as JSON: provenance (SLSA v1) and gates (in-toto test result)."""
    from pipeline.publish import attested, read_model  # noqa: PLC0415 (takes two seconds to import)

    station = _holding(model_id)
    statements = attested(station, read_model(station, model_id))
    print_json({"model": statements.digest, "provenance": statements.provenance, "gates": statements.gates})


def verify(model_id: ModelId, as_json: AsJson = False) -> None:
    """Check a model's bundle, the statements about it, and the snapshot they name; nothing of it is run."""
    from pipeline.verify_model import verify_model  # noqa: PLC0415 (takes two seconds to import)

    verified = verify_model(_holding(model_id), model_id)
    gates = verified.attested.gates
    facts = {
        "model": verified.digest,
        "role": verified.role,
        "requested by": verified.facts["requested_by"],
        "as of": verified.facts["as_of"],
        "seed": verified.facts["seed"],
        "gates passed": list(gates["passedTests"]),
        "gates failed": list(gates["failedTests"]),
    }
    materials = [(name, sha256, compared) for name, (sha256, compared) in sorted(verified.materials.items())]
    if as_json:
        listed = [{"name": name, "sha256": sha256, "found": compared} for name, sha256, compared in materials]
        print_json({**facts, "materials": listed})
        return
    print_facts("Holds, and failed its gates" if gates["failedTests"] else "Holds", facts)
    print_table("Made from", ("what", "SHA-256", "compared"), materials)


def _holding(model_id: str) -> Station:
    """The station, if there is one and it knows this model; nothing is made."""
    from pipeline.database import transaction  # noqa: PLC0415 (takes two seconds to import)
    from pipeline.registry import require_known  # noqa: PLC0415 (with the above)

    settings = open_settings()
    station = find_own_station(settings)
    if station is None:
        raise UnavailableError("no station here", where=str(settings.home), mend="run `gridward train` first")
    with transaction(station.engine) as session:
        require_known(session, model_id)
    return station
