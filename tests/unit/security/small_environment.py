"""A real environment: two wheels made here, pinned, and installed by pip into a folder of their own."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from security.installed import Examined, examine
from security.pins import read_pins
from security.wheels import Layout

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Environment:
    """An environment, the wheels it was made from, and the file that pins them."""

    prefix: Path
    wheels: Path
    pins: Path

    @property
    def site(self) -> Path:
        return self.prefix / "lib" / PYTHON / "site-packages"

    def examined(self, by_wheels: bool = True, refuse_bytecode: bool = False) -> Examined:
        wheels = self.wheels if by_wheels else None
        return examine(Layout(self.site, self.prefix, PYTHON), read_pins(self.pins), wheels, refuse_bytecode)

    def found(self, by_wheels: bool = True, refuse_bytecode: bool = False) -> list[str]:
        return [str(finding) for finding in self.examined(by_wheels, refuse_bytecode).findings]

    def record(self, name: str) -> Path:
        return self.site / f"{name}-1.0.dist-info" / "RECORD"

    def forge_record(self, distribution: str, path: Path) -> None:
        """What whoever changed or added a file does next: the line of RECORD says the file's digest of today."""
        name, record = str(path.relative_to(self.site)), self.record(distribution)
        others = [line for line in record.read_text().splitlines() if not line.startswith(f"{name},")]
        record.write_text("\n".join([*others, f"{name},sha256={digest(path.read_bytes())},{path.stat().st_size}", ""]))

    def run(self, code: str) -> str:
        """What the environment's own interpreter prints."""
        command = [str(self.prefix / "bin" / "python"), "-B", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def write_wheel(folder: Path, name: str, files: Mapping[str, bytes]) -> Path:
    """`name-1.0`, pure Python, with its RECORD."""
    info = f"{name}-1.0.dist-info"
    whole = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{path},sha256={digest(content)},{len(content)}" for path, content in whole.items()]
    whole[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in whole.items():
            archive.writestr(path, content)
    return wheel


def build(folder: Path) -> Environment:
    """An environment with `meters` (a console script, a file of data, a script) and `tariffs`."""
    wheels = [
        write_wheel(folder / "wheels", "meters", {
            "meters/__init__.py": b"def read():\n    return 42\n\ndef main():\n    print(read())\n",
            "meters/vendored/other-2.0.dist-info/RECORD": b"carried along\n",
            "meters-1.0.data/scripts/meters-run": b"#!python\nimport meters; meters.main()\n",
            "meters-1.0.data/data/share/meters/note.txt": b"a note\n",
            "meters-1.0.dist-info/entry_points.txt": b"[console_scripts]\nmeters-Read = meters:main\n",
        }),
        write_wheel(folder / "wheels", "tariffs", {"tariffs.py": b"PRICE = 7\n"}),
    ]  # fmt: skip
    pins = folder / "run.txt"
    pins.write_text(
        "".join(
            f"{wheel.name.split('-')[0]}==1.0 \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
            for wheel in wheels
        )
    )
    prefix = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(prefix)], check=True)
    python = str(prefix / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", *map(str, wheels)], check=True)
    return Environment(prefix, folder / "wheels", pins)


def restore(environment: Environment, kept: Path) -> None:
    """Put everything back as it was built."""
    shutil.rmtree(environment.prefix.parent)
    shutil.copytree(kept, environment.prefix.parent, symlinks=True)
