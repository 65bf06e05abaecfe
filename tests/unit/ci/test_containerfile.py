"""The image's instructions keep the rules, and each rule is broken by an instruction that breaks it."""

from __future__ import annotations

import pytest

from tests.unit.ci.tools import ROOT, tool

containerfile = tool("containerfile")

OURS = (ROOT / "Containerfile").read_text()
DIGEST = "sha256:" + "a" * 64
SLIM = OURS[OURS.index("FROM python:3.11.16-slim") :].splitlines()[0]


def changed(old: str, new: str) -> list[str]:
    assert old in OURS, old
    found: list[str] = containerfile.weaknesses_of(OURS.replace(old, new))
    return found


def test_our_own_containerfile_keeps_every_rule() -> None:
    assert containerfile.weaknesses_of(OURS) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (SLIM, "FROM python:3.11-slim", "not pinned by digest"),
        (SLIM, "FROM python@sha256:abc", "not pinned by digest"),
        (SLIM, "ARG BASE=python:3.11\nFROM ${BASE}", "not pinned by digest"),
        (SLIM, f"{SLIM}\nCOPY --from=busybox:latest /bin/sh /bin/sh", "neither a stage nor pinned"),
        (SLIM, f"{SLIM}\nADD https://example.org/x.tar /opt/x", "ADD fetches"),
        ("COPY api api", "COPY . .", "the whole folder"),
        ("COPY api api", 'COPY ["./", "/build/"]', "the whole folder"),
        ("--require-hashes", "", "pip may choose"),
        ("--only-binary :all:", "", "pip may choose"),
        ("--only-binary :all: --no-deps", "--only-binary :all:", "pip may choose"),
        ("--no-index --no-deps", "--no-deps", "pip may choose"),
        ("COPY api api", "RUN curl -O https://example.org/x", "without a digest"),
        ("COPY api api", "RUN pip --no-deps --no-index install a && pip install b", "pip may choose"),
        ("PYTHONUNBUFFERED=1", "GRIDWARD_KEY_PASSPHRASE=x", "readable in the image"),
        ("PYTHONUNBUFFERED=1", "API_KEY=x", "readable in the image"),
        ("WORKDIR /build", "ARG INDEX_TOKEN\nWORKDIR /build", "readable in the image"),
        ("WORKDIR /build", "ENV DATABASE_PASSWORD hunter\nWORKDIR /build", "readable in the image"),
        ("EXPOSE 8420", "RUN apt-get update", "the last stage runs something"),
        ("USER 10001:10001", "", "the user is root"),
        ("USER 10001:10001", "USER gridward", "the user is gridward"),
        ("USER 10001:10001", "USER 0", "the user is 0"),
        ("USER 10001:10001", "USER 10001:0", "the user is 10001:0"),
        ("EXPOSE 8420", "USER root", "the user is root"),
        ("PYTHONDONTWRITEBYTECODE=1", "PYTHONDONTWRITEBYTECODE=", "would be written to"),
        ('ENTRYPOINT ["/opt/gridward/bin/python", "-m", "api.cli"]', "", "no ENTRYPOINT"),
        ('ENTRYPOINT ["/opt/gridward/bin/python", "-m", "api.cli"]', "ENTRYPOINT python -m api.cli", "needs a shell"),
        (
            'ENTRYPOINT ["/opt/gridward/bin/python", "-m", "api.cli"]',
            'ENTRYPOINT ["/bin/sh", "-c", "serve"]',
            "starts /bin/sh",
        ),
        ('CMD ["serve"]', "CMD serve", "needs a shell"),
        ("EXPOSE 8420", "HEALTHCHECK --interval=5s CMD curl localhost", "needs a shell"),
        ("EXPOSE 8420", "HEALTHCHECK CMD ['not', 'json']", "needs a shell"),
        ('VOLUME ["/var/lib/gridward"]', "", "the only volume"),
        ('VOLUME ["/var/lib/gridward"]', 'VOLUME ["/var/lib/gridward", "/etc"]', "the only volume"),
        ("EXPOSE 8420", 'SHELL ["/bin/bash", "-c"]', "is not for this image"),
        ("EXPOSE 8420", "RUN <<END", "heredocs"),
        ("# The service", "# escape=`\n# The service", "parser directives"),
        ('CMD ["serve"]', "CMD \\", "not finished"),
        ("EXPOSE 8420", "8420 EXPOSE", "no instruction"),
    ],
)
def test_a_broken_rule_is_named(old: str, new: str, said: str) -> None:
    assert any(said in problem for problem in changed(old, new)), changed(old, new)


def test_the_line_is_named_where_an_instruction_over_several_lines_begins() -> None:
    text = f"FROM x@{DIGEST} AS a\n\nRUN one \\\n  # a comment inside\n\n  && pip install two\nFROM a\n"

    assert containerfile.weaknesses_of(text)[0].startswith("line 3: pip may choose")


def test_a_rule_cannot_be_kept_by_a_comment_or_by_an_earlier_stage() -> None:
    early = f'FROM x@{DIGEST} AS a\nUSER 1000\nENTRYPOINT ["x"]\n# USER 1000\nFROM a\n'

    assert any("the user is root" in problem for problem in containerfile.weaknesses_of(early))
    assert any("no ENTRYPOINT" in problem for problem in containerfile.weaknesses_of(early))


def test_a_stage_and_a_health_check_without_a_shell_are_no_weakness() -> None:
    assert changed("EXPOSE 8420", 'HEALTHCHECK CMD ["/opt/gridward/bin/python", "-c", "pass"]') == []
    assert changed("EXPOSE 8420", "HEALTHCHECK NONE") == []


def test_a_file_without_a_base_image_is_no_containerfile() -> None:
    assert containerfile.weaknesses_of("# nothing\n") == ["there is no FROM"]
