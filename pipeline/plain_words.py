"""What may be told of an error to somebody far away: its words, without the folders of this machine."""

from __future__ import annotations

from pipeline.station import Station


def without_folders(station: Station, words: str) -> str:
    """The same words, every path below the station's home told from there on."""
    return words.replace(f"{station.home.resolve()}/", "").replace(f"{station.home}/", "")
