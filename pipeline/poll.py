"""Poll the weather providers: what is accepted becomes readings, what is refused goes to quarantine with its reason.

asked → intake (`data.providers`) → lake: weather, known from the moment of receipt
                                  → quarantine: reason and digest of the refused payload, which the intake folder keeps

Whatever one provider does, dies, floods, lies in its format, the others' values come in (AML.T0029, AML.T0010.002). A lie
in the right format comes in as well: finding it is the weather watch's (`pipeline.monitor`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
from pydantic import RootModel, ValidationError

from data.errors import ProviderFailed
from data.lake.tables import KEY_ID, PAYLOAD_SHA256
from data.providers.intake import Outcome, poll
from data.providers.protocol import LastAnswer, ProviderAnswer, WeatherProvider
from data.quarantine import quarantine
from data.schema import ISSUED_AT, PROVIDER, VALID_AT
from pipeline.database import transaction
from pipeline.ingest import take_weather
from pipeline.station import Station
from security.keyring import require_active


@dataclass(frozen=True)
class Polled:
    """Values taken in by provider (0 where the last answer still stands), and why the others were refused."""

    values: Mapping[str, int]
    refused: Mapping[str, str]


class _LastAnswers(RootModel[dict[str, LastAnswer]]):
    """`intake/last_answers.json`."""


def poll_providers(
    station: Station, providers: Sequence[WeatherProvider], now: datetime, deadline_seconds: float = 60.0
) -> Polled:
    """Ask every provider once at `now` (UTC), and keep what came of it in the station.

    No provider's doing makes it raise. Raises ValueError for names that are not plain or stand twice, OSError when the
    station's folder cannot be written.
    """
    folder = station.home / "intake"
    last = _remembered(folder)

    def require_key(key_id: str, name: str) -> None:
        with transaction(station.engine) as session:
            require_active(session, key_id, "provider", name)

    outcomes = poll(providers, last, now, folder=folder, require_key=require_key, deadline_seconds=deadline_seconds)
    answers = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, ProviderAnswer)}
    frames = [
        answer.frame.assign(**{KEY_ID: answer.key_id or "", PAYLOAD_SHA256: answer.digest})
        for answer in answers.values()
        if not answer.not_modified
    ]
    if frames:
        take_weather(station, pd.concat(frames).sort_values([PROVIDER, VALID_AT, ISSUED_AT], ignore_index=True))
    # The weather goes first: cut off between the two, the same values come again, which adds nothing new.
    _remember(folder, last | {name: answer.last for name, answer in answers.items()})
    _set_aside(station, outcomes, now)
    return Polled(
        values={name: len(answer.frame) for name, answer in answers.items()},
        refused={name: outcome.reason for name, outcome in outcomes.items() if isinstance(outcome, ProviderFailed)},
    )


def _set_aside(station: Station, outcomes: Mapping[str, Outcome], now: datetime) -> None:
    with transaction(station.engine) as session:
        for name, outcome in outcomes.items():
            if isinstance(outcome, ProviderFailed):
                quarantine(
                    session,
                    source=name,
                    reason=outcome.reason,
                    detail=outcome.problem,
                    digest=hashlib.sha256(outcome.payload).hexdigest() if outcome.payload else "",
                    received_at=now,
                )


def _remembered(folder: Path) -> dict[str, LastAnswer]:
    """Nothing where nothing readable is: then everything is asked for anew, and a replay of the last answer not noticed."""
    try:
        return _LastAnswers.model_validate_json((folder / "last_answers.json").read_bytes()).root
    except (FileNotFoundError, ValidationError):
        return {}


def _remember(folder: Path, last: Mapping[str, LastAnswer]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / "last_answers.draft"
    draft.write_text(_LastAnswers(dict(last)).model_dump_json(indent=1))
    draft.replace(folder / "last_answers.json")
