"""Files that commands write: all of them whole, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.errors import PipelineError


def require_folder(path: Path | None, option: str) -> None:
    """Before the work is done: `option` names a place where a file can be written. Raises PipelineError."""
    if path is None:
        return
    if not path.parent.is_dir():
        raise PipelineError("the folder does not exist", where=str(path), mend=f"make it first, or choose another {option}")
    if path.is_dir():
        raise PipelineError("is a directory", where=str(path), mend=f"name a file in it for {option}")


def write_whole(files: Mapping[Path, Callable[[Path], None]]) -> None:
    """Write beside, then rename: nobody finds half a file, nor some of the files without the others."""
    drafts = {path: path.with_name(f".{path.name}.draft") for path in files}
    try:
        for path, write in files.items():
            write(drafts[path])
        for path, draft in drafts.items():
            draft.replace(path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
