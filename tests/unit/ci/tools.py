"""The tools of `.ci`, which is no package: each is loaded from its file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[3]


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
