"""What every command that works on the station starts with. Heavy rooms are imported by the commands that need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipeline.database import PATIENCE_SECONDS
from pipeline.errors import PipelineError
from pipeline.settings import Settings
from pipeline.station import Station, open_station

if TYPE_CHECKING:
    from pipeline.serving import Serving

ACTOR = "operator on the console"


def open_settings() -> Settings:
    """The settings of the environment. Raises PipelineError naming the variable that cannot be used."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"GRIDWARD_{'_'.join(str(part) for part in first['loc']).upper()}"
        raise PipelineError(first["msg"], where=name, mend="see docs/settings.md") from None


def open_own_station() -> Station:
    """The station that the settings name."""
    return open_station(open_settings())


def find_own_station(settings: Settings) -> Station | None:
    """The station that the settings name, if there is one: none is made."""
    there = bool(settings.database_url.get_secret_value()) or (settings.home / "gridward.sqlite").exists()
    return open_station(settings) if there else None


def open_serving(patience_seconds: float = PATIENCE_SECONDS) -> Serving:
    """The station with its readings and its active model loaded; patience_seconds: with its database, as `open_station`.

    Raises UnavailableError before `gridward train`.
    """
    from pipeline.serving import Serving, wall_clock  # noqa: PLC0415 (takes two seconds to import)

    settings = open_settings()
    replayed = settings.replay_at
    return Serving(open_station(settings, patience_seconds), wall_clock if replayed is None else lambda: replayed)
