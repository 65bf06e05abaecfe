"""Build a release twice from one commit, refuse it unless both are the same bytes, sign where it came from: `make release`.

A release is the wheel, the source archive, the bill of materials, and `provenance.dsse.json` over them. Only what the
commit holds goes in: the working folder is not looked at. Every moment in an archive is the commit's.

    release.py build --out FOLDER [--key PEM]     without a key, one is made for this run and proves nothing
    release.py verify FOLDER --public HEX|PEM-FILE

A tool of this repository and no part of a station: the wheel does not carry it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from security.build_provenance import Build, read_release_signer, sign_release, trusted_releaser, verify_release
from security.errors import GridwardError, IntegrityError, UnavailableError
from security.signing import new_signer

_PINS = ("requirements/run.txt", "requirements/dev.txt")
# (setuptools changes sys.argv.)
_BUILD = "import sys; out = sys.argv[1]; from setuptools import build_meta as b; b.build_sdist(out); b.build_wheel(out)"
_BILL = "gridward.cdx.json"


def build(repository: Path, out: Path, key: Path | None) -> str:
    """Build, compare, sign and verify the release of the commit that is checked out; the public key that verifies it.

    Raises UnavailableError when `out` exists or git or a tool fails, IntegrityError when two builds differ.
    """
    if out.exists():
        raise UnavailableError("there is something already", where=str(out), mend="name a folder that does not exist yet")
    signer = new_signer() if key is None else read_release_signer(key)
    revision = _run(["git", "rev-parse", "HEAD"], repository).decode().strip()
    epoch = int(_run(["git", "show", "-s", "--format=%ct", revision], repository))
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "first"), Path(folder, "second")
        for made in (first, second):
            _build_once(repository, revision, epoch, made)
        _require_equal(first, second)
        inputs = {name: _sha256(_run(["git", "show", f"{revision}:{name}"], repository)) for name in _PINS}
        sign_release(first, Build(revision, epoch, inputs), signer)
        verify_release(first, {signer.key_id: signer.public_key})
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(first, out)
    return signer.public_key.public_bytes_raw().hex()


def same_bytes_anywhere(archive: bytes, epoch: int) -> bytes:
    """A source archive with its members by name, of nobody, with two kinds of mode, and one moment."""
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive)) as given,
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=epoch) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as kept,
    ):
        for member in sorted(given.getmembers(), key=lambda member: member.name):
            clean = tarfile.TarInfo(member.name)
            clean.type, clean.size, clean.mtime = member.type, member.size, epoch
            clean.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            kept.addfile(clean, given.extractfile(member) if member.isfile() else None)
    return packed.getvalue()


def _build_once(repository: Path, revision: str, epoch: int, out: Path) -> None:
    out.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        with tarfile.open(fileobj=io.BytesIO(_run(["git", "archive", revision], repository))) as archive:
            archive.extractall(tree, filter="data")
        _run([sys.executable, "-c", _BUILD, str(out)], tree, SOURCE_DATE_EPOCH=str(epoch))
        bill = [str(Path(sys.executable).with_name("cyclonedx-py")), "requirements", "requirements/run.txt"]
        options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--short-PURLs", "-o", str(out / _BILL)]
        _run([*bill, *options], tree, PYTHONWARNINGS="ignore::UserWarning")
    for archive_file in out.glob("*.tar.gz"):
        archive_file.write_bytes(same_bytes_anywhere(archive_file.read_bytes(), epoch))


def _require_equal(first: Path, second: Path) -> None:
    digests = [{path.name: _sha256(path.read_bytes()) for path in folder.iterdir()} for folder in (first, second)]
    differing = sorted(name for name, _ in digests[0].items() ^ digests[1].items())
    if differing:
        raise IntegrityError("two builds differ", where=differing[0], mend="find what is not decided by the commit")


def _run(command: Sequence[str], folder: Path, **more: str) -> bytes:
    # A builder's own settings decide nothing: of the environment only where programs lie goes in.
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C.UTF-8", "TZ": "UTC", **more}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False, umask=0o022)  # noqa: S603 (fixed commands)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise UnavailableError(f"{Path(command[0]).name} failed: {said[-1]}", where=str(folder))
    return done.stdout


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main(arguments: Sequence[str]) -> int:
    """Run `build` or `verify`; a refusal is one line on stderr and the error's exit code."""
    parser = argparse.ArgumentParser(prog="release", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("build")
    making.add_argument("--out", type=Path, required=True)
    making.add_argument("--key", type=Path)
    checking = commands.add_parser("verify")
    checking.add_argument("folder", type=Path)
    checking.add_argument("--public", required=True, help="the releaser's public key: 64 hex digits, or a PEM file")
    asked = parser.parse_args(arguments)
    try:
        if asked.command == "build":
            public = build(Path.cwd(), asked.out, asked.key)
            kind = (
                "" if asked.key else " (made for this run: it proves that these files belong together, not who built them)"
            )
            sys.stdout.write(f"{asked.out}: two builds were the same bytes; signed by {public}{kind}\n")
        else:
            given = Path(asked.public)
            made = verify_release(asked.folder, trusted_releaser(given.read_text() if given.is_file() else asked.public))
            sys.stdout.write(f"{asked.folder}: holds, built from {made.revision}\n")
    except GridwardError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
