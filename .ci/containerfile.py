"""Read the Containerfile as its builder does, and name every instruction that weakens the image: part of `make check`.

The rules, in the order in which they are asked:
    a base image is pinned by the digest of its content;
    nothing is fetched by `ADD`, and `COPY` names what it takes, never the whole folder;
    pip installs pinned, hashed wheels only, or what is at hand without any index;
    no `ARG` or `ENV` is named like a secret: both stay readable in the image;
    the last stage runs nothing while it is built, has a user by number who is not root, writes no bytecode, starts without a
    shell, has no health check that needs one, and keeps data only in the volume that `GRIDWARD_HOME` names.

Source: the Dockerfile reference (comments, continuations, stages, exec form). Heredocs and parser directives are refused:
what is not needed need not be understood.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_DIGEST = re.compile(r"[a-z0-9][a-z0-9./_-]*(?::[\w.-]+)?@sha256:[0-9a-f]{64}")
_SECRET = re.compile(r"PASS|SECRET|TOKEN|CREDENTIAL|PRIVATE|API_?KEY|_KEY$|^KEY$", re.IGNORECASE)
_PIP = re.compile(r"\bpip[\d.]*\s+(?:\S+\s+)*?(?:install|wheel|download)\b")
_SHELLS = {"sh", "bash", "dash", "ash", "zsh", "busybox", "env"}


@dataclass(frozen=True)
class Instruction:
    """One instruction: the line it begins at, its name in capitals, its arguments on one line."""

    line: int
    name: str
    arguments: str


def instructions_of(text: str) -> list[Instruction]:
    """The instructions of a Containerfile, continuations joined, no comments; ValueError for what is not read here."""
    found: list[Instruction] = []
    parts: list[str] = []
    begins = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("#"):
            if not found and not parts and re.match(r"#\s*(escape|syntax|check)\s*=", line.strip(), re.IGNORECASE):
                raise ValueError(f"line {number}: parser directives are not read here")
            continue
        if not line.strip():
            continue
        begins = begins if parts else number
        parts.append(line.strip().removesuffix("\\").strip())
        if not line.rstrip().endswith("\\"):
            found.append(_instruction(" ".join(parts), begins))
            parts = []
    if parts:
        raise ValueError(f"line {begins}: the last instruction is not finished")
    return found


def weaknesses_of(text: str) -> list[str]:
    """A line for each rule that a Containerfile breaks, with where it does."""
    try:
        instructions = instructions_of(text)
    except ValueError as error:
        return [str(error)]
    starts = [place for place, one in enumerate(instructions) if one.name == "FROM"]
    if not starts:
        return ["there is no FROM"]
    found = [problem for one in instructions for problem in _anywhere(one)]
    return [*_bases(instructions), *found, *_last_stage(instructions[starts[-1] :])]


def _instruction(text: str, line: int) -> Instruction:
    name, _, arguments = text.partition(" ")
    if not name.isalpha():
        raise ValueError(f"line {line}: no instruction begins with {name!r}")
    if "<<" in arguments:
        raise ValueError(f"line {line}: heredocs are not read here")
    return Instruction(line, name.upper(), arguments.strip())


def _bases(instructions: Sequence[Instruction]) -> Iterator[str]:
    stages: set[str] = set()
    for one in instructions:
        words = [word for word in one.arguments.split() if not word.startswith("--")]
        if one.name == "FROM":
            if words[:1] and words[0] not in stages and not _DIGEST.fullmatch(words[0]):
                yield f"line {one.line}: base image {words[0]} is not pinned by digest"
            if len(words) == 3 and words[1].upper() == "AS":
                stages.add(words[2])
        for source in re.findall(r"--from=(\S+)", one.arguments) if one.name in {"COPY", "RUN"} else ():
            if source not in stages and not _DIGEST.fullmatch(source):
                yield f"line {one.line}: copied from {source}, neither a stage nor pinned by digest"


def _anywhere(one: Instruction) -> Iterator[str]:
    words = [word for word in one.arguments.split() if not word.startswith("--")]
    if one.name == "ADD":
        yield f"line {one.line}: ADD fetches and unpacks; use COPY"
    if one.name == "COPY" and {word.strip('[]",') for word in words[:-1]} & {".", "./", "*", "/"}:
        yield f"line {one.line}: COPY takes the whole folder"
    if one.name in {"ARG", "ENV"}:
        names = [word.partition("=")[0] for word in words] if "=" in one.arguments else words[:1]
        yield from (f"line {one.line}: {one.name} {name} is readable in the image" for name in names if _SECRET.search(name))
    if one.name == "RUN":
        yield from _run(one)
    if one.name in {"SHELL", "ONBUILD", "MAINTAINER"}:
        yield f"line {one.line}: {one.name} is not for this image"


def _run(one: Instruction) -> Iterator[str]:
    # Each command by itself: what one of them says does not excuse the next.
    for command in re.split(r"&&|\|\||[;|]", one.arguments):
        if not _PIP.search(command):
            continue
        hashed = "--require-hashes" in command and re.search(r"--only-binary[ =]:all:", command)
        if not (hashed or "--no-index" in command) or "--no-deps" not in command:
            yield f"line {one.line}: pip may choose what it installs (--require-hashes --only-binary :all: --no-deps)"
    if re.search(r"\b(curl|wget|git clone)\b", one.arguments):
        yield f"line {one.line}: something is fetched without a digest"


def _last_stage(stage: Sequence[Instruction]) -> Iterator[str]:
    last = {one.name: one for one in stage}
    environment = dict(re.findall(r'(\w+)=("[^"]*"|\S+)', " ".join(one.arguments for one in stage if one.name == "ENV")))
    yield from (f"line {one.line}: the last stage runs something while it is built" for one in stage if one.name == "RUN")
    user = last["USER"].arguments if "USER" in last else ""
    if not re.fullmatch(r"[1-9][0-9]*(:[1-9][0-9]*)?", user):
        yield f"the user is {user or 'root'}, not a number above 0"
    if environment.get("PYTHONDONTWRITEBYTECODE") != "1":
        yield "PYTHONDONTWRITEBYTECODE is not 1: the root file system would be written to"
    if "ENTRYPOINT" not in last:
        yield "there is no ENTRYPOINT"
    for name in ("ENTRYPOINT", "CMD"):
        if name in last:
            yield from _exec_form(last[name], last[name].arguments)
    if "HEALTHCHECK" in last and last["HEALTHCHECK"].arguments != "NONE":
        yield from _exec_form(last["HEALTHCHECK"], last["HEALTHCHECK"].arguments.partition("CMD ")[2])
    volumes = [volume for one in stage if one.name == "VOLUME" for volume in _words(one.arguments)]
    if volumes != [environment.get("GRIDWARD_HOME", "")]:
        yield "the only volume must be what GRIDWARD_HOME names"


def _exec_form(one: Instruction, arguments: str) -> Iterator[str]:
    words = _words(arguments) if arguments.startswith("[") else []
    if not words:
        yield f"line {one.line}: {one.name} needs a shell: write it as a list"
    elif one.name != "CMD" and Path(words[0]).name in _SHELLS:
        yield f"line {one.line}: {one.name} starts {words[0]}"


def _words(arguments: str) -> list[str]:
    if not arguments.startswith("["):
        return arguments.split()
    try:
        words = json.loads(arguments)
    except ValueError:
        return []
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else []


if __name__ == "__main__":
    problems = weaknesses_of(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.stdout.write("".join(f"{sys.argv[1]}: {problem}\n" for problem in problems))
    sys.exit(bool(problems))
