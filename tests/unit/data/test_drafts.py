"""A folder stands whole or not at all, and what a killed process left is swept by the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data.drafts import draft_in

ROOT = Path(__file__).parents[3]


def names(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir())


def test_what_was_renamed_stays_and_nothing_else(tmp_path: Path) -> None:
    with draft_in(tmp_path / "store") as draft:
        (draft / "file").write_text("whole")
        draft.rename(tmp_path / "store" / "done")
    with draft_in(tmp_path / "store") as draft:
        (draft / "file").write_text("not needed")
    assert names(tmp_path / "store") == ["done"]
    assert (tmp_path / "store" / "done" / "file").read_text() == "whole"


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def half_done() -> None:
        with draft_in(tmp_path) as draft:
            (draft / "file").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_done()
    assert names(tmp_path) == []


def test_a_draft_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    with draft_in(tmp_path) as mine:
        with draft_in(tmp_path) as other:
            assert {mine.name, other.name} == set(names(tmp_path))
        assert names(tmp_path) == [mine.name]


def test_the_draft_of_a_killed_process_is_swept(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from data.drafts import draft_in\n"
        "with draft_in(Path(sys.argv[1])) as draft:\n"
        "    (draft / 'file').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 1
    with draft_in(tmp_path) as draft:
        assert names(tmp_path) == [draft.name]
