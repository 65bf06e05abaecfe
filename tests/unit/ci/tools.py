"""The tools of `.ci`, which is no package: each is loaded from its file."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

from tests.stores import without

ROOT = Path(__file__).parents[3]


def require_git() -> None:
    """Skip the test where git is not installed, or fail it under CI."""
    if shutil.which("git") is None:
        without("git", "it is not installed")


def tool(name: str) -> ModuleType:
    """The module `.ci/NAME.py`."""
    known = f"ci_tool_{name}"
    if known not in sys.modules:
        spec = importlib.util.spec_from_file_location(known, ROOT / ".ci" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[known] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[known])
    return sys.modules[known]
