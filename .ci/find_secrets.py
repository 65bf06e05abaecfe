"""Look for keys, tokens and passwords in every file of this repository that is not ignored: part of `make check`.

`.secrets.baseline` holds, hashed, what was looked at and is no secret; docs/supply-chain.md says why, file by file. What
is not in it fails, and so does an entry that nobody judged, or whose reason is gone. Nothing is sent anywhere to be tried.

detect-secrets' own hook rewrites the baseline when a line moves; this asks the same question and changes nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from detect_secrets.core import baseline
from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import transient_settings

BASELINE = ".secrets.baseline"


class NoClone(RuntimeError):
    """What a commit would hold is not known here."""


def files_of(repository: Path) -> list[str]:
    """Every file that is tracked, or would be with the next `git add`, relative to the repository.

    Raises NoClone where git is not installed, or does not know the folder.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=repository, capture_output=True, check=True)  # noqa: S603 (fixed command)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise NoClone(f"secrets were not looked for: git does not list the files of {repository}") from error
    names = sorted(set(listed.stdout.decode("utf-8", "surrogateescape").split("\0")) - {"", BASELINE})
    return [name for name in names if (repository / name).is_file()]


def problems_in(repository: Path, names: Sequence[str]) -> list[str]:
    """A line for each finding that the baseline does not hold, and for each of its entries that does not hold any more."""
    kept = json.loads((repository / BASELINE).read_text(encoding="utf-8"))
    settings = {"plugins_used": kept["plugins_used"], "filters_used": kept["filters_used"]}
    # (What is found and what is kept are compared by the names as they were given.)
    with contextlib.chdir(repository), transient_settings(settings):
        found = SecretsCollection()
        found.scan_files(*names)
        known = baseline.load(kept)
        new = [f"{name}:{one.line_number}: {one.type}" for name, one in found - known]
        gone = [f"{BASELINE}: {name}: {one.type}: no longer there" for name, one in known - found]
        open_ = [f"{BASELINE}: {name}: {one.type}: not judged" for name, one in known if one.is_secret is not False]
    return sorted([*new, *gone, *open_])


if __name__ == "__main__":
    repository = Path.cwd()
    try:
        problems = problems_in(repository, files_of(repository))
    except NoClone as why:
        sys.stdout.write(f"{why}\n")
        # An unpacked archive is checked as far as it can be; CI has a clone.
        sys.exit("CI" in os.environ)
    sys.stdout.write("".join(f"{problem}\n" for problem in problems))
    sys.exit(bool(problems))
