"""Of a release no byte changes unseen; of a Containerfile no way of writing it hides a weakness."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from security.build_provenance import Build, sign_release, verify_release
from security.errors import IntegrityError
from security.signing import new_signer
from tests.unit.ci.tools import ROOT, tool

SIGNER = new_signer()
TRUSTED = {SIGNER.key_id: SIGNER.public_key}
HEX = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")
CONTAINERFILE = (ROOT / "Containerfile").read_text()
ONE_FOLDER = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

containerfile = tool("containerfile")


@ONE_FOLDER
@given(
    revision=HEX.map(lambda digest: digest[:40]),
    epoch=st.integers(0, 2**40),
    inputs=st.dictionaries(st.text(min_size=1, max_size=10), HEX, max_size=3),
    files=st.dictionaries(st.from_regex(r"\A[a-z]{1,8}\Z"), st.binary(max_size=40), min_size=1, max_size=4),
)
def test_every_release_verifies_and_says_how_it_was_built(
    tmp_path: Path, revision: str, epoch: int, inputs: dict[str, str], files: dict[str, bytes]
) -> None:
    folder = tmp_path / "release"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    build = Build(revision, epoch, inputs)
    sign_release(folder, build, SIGNER)

    assert verify_release(folder, TRUSTED) == build


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    (folder / "gridward.whl").write_bytes(bytes(range(64)))
    sign_release(folder, Build("c" * 40, 1, {"requirements/run.txt": "a" * 64}), SIGNER)
    return folder


@ONE_FOLDER
@given(data=st.data())
def test_no_bit_of_a_release_changes_unseen(release: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(release.iterdir())))
    whole = path.read_bytes()
    place, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
    try:
        with pytest.raises(IntegrityError):
            verify_release(release, TRUSTED)
    finally:
        path.write_bytes(whole)


def written_otherwise(data: st.DataObject, text: str) -> str:
    """The same instructions in small letters, over more lines, with comments and empty lines between."""
    lines = []
    for one in containerfile.instructions_of(text):
        name = data.draw(st.sampled_from([one.name, one.name.lower(), one.name.capitalize()]))
        words = [name, *one.arguments.split(" ")]
        for word in words[:-1]:
            lines.append(f"{data.draw(st.sampled_from(['', '  ', '	']))}{word} \\")
            lines += data.draw(st.sampled_from([[], [], ["# a remark"], ["", "  # and another"]]))
        lines.append(words[-1])
    return "\n".join(lines) + "\n"


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    weakened=st.sampled_from(
        [
            ("--require-hashes", ""),
            ("USER 10001:10001", "USER root"),
            ("EXPOSE 8420", "ADD x y"),
            ("COPY api api", "COPY . ."),
        ]
    ),
)
def test_how_it_is_written_hides_no_weakness_and_makes_none(data: st.DataObject, weakened: tuple[str, str]) -> None:
    assert containerfile.weaknesses_of(written_otherwise(data, CONTAINERFILE)) == []

    weak = CONTAINERFILE.replace(*weakened)
    assert len(containerfile.weaknesses_of(written_otherwise(data, weak))) == len(containerfile.weaknesses_of(weak)) > 0


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    assert all(isinstance(problem, str) for problem in containerfile.weaknesses_of(text))
    assert containerfile.weaknesses_of(text) != []
