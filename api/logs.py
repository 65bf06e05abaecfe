"""Structured logs: one JSON object a line on stderr. Fields are named one by one: no header, body or token slips in."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

# What our own records of other rooms carry beside their words.
_FIELDS = ("fields", "entries")


def log_to_stderr(level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send our events and every other logger's records, uvicorn's too, to `stream` (default: stderr) as JSON lines.

    A line: `at` (UTC), `level`, `logger`, `event`, and the fields given with it; an exception stands in `traceback`.
    """
    structlog.configure(
        processors=[*_shared(), structlog.processors.JSONRenderer(serializer=_line)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Asked for each line: what stderr is may change, and what it was be closed.
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr if stream is None else stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_line),
            ],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(_FIELDS), *_shared()],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _exception_as_traceback,
    ]


def _exception_as_traceback(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    formatted = structlog.processors.format_exc_info(_logger, _method, event)
    if "exception" in formatted:
        formatted["traceback"] = formatted.pop("exception")
    return formatted


def _line(event: Any, **_options: Any) -> str:
    return json.dumps(event, default=str)
