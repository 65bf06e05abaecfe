"""The folder that backups stand in, and whose turn it is.

    FOLDER/chunks/<name>               pieces of files, encrypted, each once            (chunks)
    FOLDER/backups/000001/             a signed manifest, and the encrypted catalogue   (chain, catalogue)
    FOLDER/pruned.jsonl                which backups were removed on purpose, signed    (pruned)

What begins with `.draft-` was never finished; whoever works here alone clears it away. Nothing in place is ever written
to: everything is made as a draft and renamed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import PipelineError
from security.errors import UnavailableError
from security.manifest import FileChanged

CHUNKS, BACKUPS, PRUNED = "chunks", "backups", "pruned.jsonl"
DRAFT = ".draft-"


def make_repository(root: Path, home: Path) -> None:
    """Make the folder ready for a first backup of the station at `home`, or leave it as it is. Raises PipelineError."""
    if root.resolve().is_relative_to(home.resolve()):
        raise PipelineError("the backup would lie inside the station", where=str(root), mend="name a folder on another disk")
    if not root.exists() and not root.parent.is_dir():
        raise PipelineError(
            "the folder above does not exist", where=str(root), mend="mount the disk, or make the folder first"
        )
    root.mkdir(mode=0o700, exist_ok=True)
    ours = {CHUNKS, BACKUPS, PRUNED}
    if not (root / BACKUPS).exists() and any(entry.name not in ours for entry in root.iterdir()):
        raise PipelineError("the folder holds something else", where=str(root), mend="name an empty folder for the backups")
    for name in (CHUNKS, BACKUPS):
        (root / name).mkdir(mode=0o700, exist_ok=True)
    names_on_disk(root)


@contextmanager
def turn_at(folder: Path, *, alone: bool) -> Iterator[None]:
    """Work on a folder while nobody changes it, or `alone`; the kernel ends the turn of a process that dies.

    Raises UnavailableError when somebody else is at work, or there is no such folder.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UnavailableError(
            f"cannot open this folder: {error.strerror}",
            where=str(folder),
            mend="check the path, and that its disk is there",
        ) from None
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnavailableError(
                "another gridward is at work on this folder", where=str(folder), mend="wait until it has ended"
            ) from None
        yield
    finally:
        os.close(descriptor)


def require_layout(root: Path) -> None:
    """Raise ContentChanged for a link in place of one of our folders, UnavailableError where no backup ever was."""
    for name in (CHUNKS, BACKUPS):
        if (root / name).is_symlink():
            raise FileChanged(name, "symlink")
        if not (root / name).is_dir():
            raise UnavailableError(
                "no backups here", where=str(root), mend="run `gridward backup create` first, or check the path"
            )


def clear_drafts(folder: Path) -> None:
    """Remove what a process that was killed left unfinished."""
    for entry in folder.glob(f"{DRAFT}*"):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def write_in_place(path: Path, content: bytes) -> None:
    """Write a file whole: as a draft beside its place, on the disk, then renamed."""
    draft = path.with_name(f"{DRAFT}{path.name}")
    with draft.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


def names_on_disk(folder: Path) -> None:
    """Return once the names in a folder are on the disk, and not only in the system's memory."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
