"""What the command line prints: JSON or a table on stdout, progress on stderr and only where somebody watches."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]

Report = Callable[[str, float], None]


def print_json(content: object) -> None:
    """One JSON document on stdout; numbers that are not finite become null."""
    typer.echo(json.dumps(_finite(content), indent=2, default=_text, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A titled table on stdout; without a header when no column has a name. Cells are text, never markup."""
    table = Table(show_header=any(columns))
    for column in columns:
        # An id that is broken in two cannot be copied.
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    for row in rows:
        table.add_row(*[Text(_shown(cell)) for cell in row])
    console = Console()
    console.print(Text(title, "bold"))
    console.print(table)


def print_facts(title: str, facts: Mapping[str, object]) -> None:
    """Names and values, one a line."""
    print_table(title, ("", ""), list(facts.items()))


@contextmanager
def progress(quiet: bool) -> Iterator[Report]:
    """A bar on stderr, moved by calling what is given: (stage, share done 0..1; below 0 where nobody can say).

    Silent when stderr is no terminal, or when asked to be.
    """
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bars:
        bar = bars.add_task("", total=None)

        def report(stage: str, share: float) -> None:
            bars.update(bar, description=stage, completed=max(share, 0.0), total=1.0 if share >= 0 else None)

        yield report


def _shown(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}"
    if isinstance(cell, list | tuple):
        return ", ".join(map(str, cell))
    return "" if cell is None else str(cell)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _finite(content: object) -> Any:
    if isinstance(content, Mapping):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
