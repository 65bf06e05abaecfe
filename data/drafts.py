"""Folders that are written beside their place and renamed when they are whole: a reader never sees a part of one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".draft-"


@contextmanager
def draft_in(store: Path) -> Iterator[Path]:
    """A new folder in `store`, to be renamed when it is whole, and gone otherwise; also what killed processes left is gone.

    A draft is locked as long as its process lives, so one that can be locked by somebody else belongs to nobody.
    """
    store.mkdir(parents=True, exist_ok=True)
    with _locked(store):
        for left in store.glob(f"{PREFIX}*"):
            _sweep(left)
        draft = Path(tempfile.mkdtemp(prefix=PREFIX, dir=store))
        descriptor = os.open(draft, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(draft: Path) -> None:
    try:
        descriptor = os.open(draft, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        # Renamed into place a moment ago.
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(draft, ignore_errors=True)
    except BlockingIOError:
        # Somebody is writing it.
        return
    finally:
        os.close(descriptor)
