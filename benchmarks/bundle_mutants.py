"""Ways to spoil what a server loads: by who can write to its disk, who holds its keys, and who deceives its operators.

A mutation changes a `Yard`: the released bundle's folder and the release repository. What it needs besides lies in the yard:
an older release, another tenant's bundle, the keys an insider has.
"""

from __future__ import annotations

import os
import random
import shutil
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.model_text_mutants import MUTATIONS, mutant
from pipeline import registry
from pipeline.database import transaction
from pipeline.promotion import DEMO_OPERATORS, THRESHOLD, chest_name
from pipeline.publish import KIND, read_model
from pipeline.registry import ModelRecord
from pipeline.releases import online_signer, repository_of
from pipeline.station import Station
from security.bundle_keys import bundle_context
from security.manifest import MANIFEST_NAME, Manifest
from security.release_repository import propose, publish
from security.sealed_bundle import KEY_FILE, SEALED, describe_bundle, digest_of, id_of, write_bundle
from security.signing import Signer, new_signer, sign_statement

TEXT = "booster.txt"


@dataclass(frozen=True)
class Yard:
    """station: the one that is attacked; model_id: its released model; older: one released before; other: another tenant's
    bundle; before: the release repository as it was for the older one.
    """

    station: Station
    model_id: str
    older: Path
    other: Path
    before: Path

    @property
    def bundle(self) -> Path:
        return self.station.models / self.model_id

    @property
    def registry(self) -> Path:
        return repository_of(self.station)

    @property
    def client(self) -> Path:
        return self.station.home / "registry-client"


Mutation = Callable[[Yard, random.Random], None]


def bit_flipped(yard: Yard, chance: random.Random) -> None:
    path = _any_file(yard.bundle, chance)
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def truncated(yard: Yard, chance: random.Random) -> None:
    path = _any_file(yard.bundle, chance)
    os.truncate(path, chance.randrange(path.stat().st_size))


def extended(yard: Yard, chance: random.Random) -> None:
    with _any_file(yard.bundle, chance).open("ab") as stream:
        stream.write(chance.randbytes(chance.choice((1, 16, 4096, 2**20))))


def swapped(yard: Yard, chance: random.Random) -> None:
    one, other = chance.sample(_files(yard.bundle), 2)
    contents = one.read_bytes(), other.read_bytes()
    other.write_bytes(contents[0])
    one.write_bytes(contents[1])


def renamed(yard: Yard, chance: random.Random) -> None:
    path = _any_file(yard.bundle, chance)
    path.rename(path.with_name(chance.choice((path.name.upper(), f"{path.name}.bak", path.name.removesuffix(SEALED) + "_"))))


def removed(yard: Yard, chance: random.Random) -> None:
    _any_file(yard.bundle, chance).unlink()


def added(yard: Yard, chance: random.Random) -> None:
    name = chance.choice(
        ("more.txt", "x.sealed", "x.dsse.json.sealed", ".hidden", "model.pkl", "sitecustomize.py", "a\nb", "\u202etxt")
    )
    (yard.bundle / name).write_bytes(chance.randbytes(64))


def unicode_twin(yard: Yard, chance: random.Random) -> None:
    """A name that looks like one of the bundle's and is another; sometimes instead of it."""
    path = _any_file(yard.bundle, chance)
    wide = "".join(
        chr(ord(letter) + 0xFEE0) if letter.isalpha() and chance.random() < 0.3 else letter for letter in path.name
    )
    name = chance.choice(
        (
            wide,
            unicodedata.normalize("NFD", f"é{path.name}"),
            f"{path.name}\u200b",
            os.fsdecode(b"\xff" + path.name.encode()),
        )
    )
    twin = path.with_name(name if name != path.name else f"{path.name}\u200b")
    twin.write_bytes(path.read_bytes())
    if chance.random() < 0.5:
        path.unlink()


def linked(yard: Yard, chance: random.Random) -> None:
    """The very bytes, but behind a link: what it points at could change after the check."""
    path = _any_file(yard.bundle, chance)
    away = yard.bundle.parent / f".away-{path.name}"
    path.replace(away)
    path.symlink_to(away)


def folder_linked(yard: Yard, _chance: random.Random) -> None:
    away = yard.bundle.parent / ".away"
    yard.bundle.rename(away)
    yard.bundle.symlink_to(away)


def odd_file(yard: Yard, chance: random.Random) -> None:
    path = _any_file(yard.bundle, chance)
    path.unlink()
    chance.choice((os.mkfifo, os.mkdir))(path)


def older_file(yard: Yard, chance: random.Random) -> None:
    path = _any_file(yard.older, chance)
    (yard.bundle / path.name).write_bytes(path.read_bytes())


def older_bundle(yard: Yard, _chance: random.Random) -> None:
    _replace(yard.bundle, yard.older)


def other_tenants_file(yard: Yard, chance: random.Random) -> None:
    path = _any_file(yard.other, chance)
    (yard.bundle / path.name).write_bytes(path.read_bytes())


def other_tenants_bundle(yard: Yard, _chance: random.Random) -> None:
    _replace(yard.bundle, yard.other)


def releases_rolled_back(yard: Yard, chance: random.Random) -> None:
    """The older state of the releases, whole and validly signed; sometimes the client's memory is wiped with it."""
    _replace(yard.registry, yard.before)
    if chance.random() < 0.5:
        shutil.rmtree(yard.client, ignore_errors=True)


def releases_flipped(yard: Yard, chance: random.Random) -> None:
    """A byte of what is in force; the client's copy is wiped, so that it has to be read."""
    metadata = yard.registry / "metadata"
    newest = [
        max(metadata.glob(f"*.{kind}.json"), key=lambda path: int(path.name.split(".")[0]))
        for kind in ("snapshot", "targets")
    ]
    path = chance.choice([*newest, metadata / "timestamp.json"])
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    shutil.rmtree(yard.client, ignore_errors=True)


def sealed_anew(yard: Yard, chance: random.Random) -> None:
    """An insider with the bundle keys encrypts other trees: huge numbers, cycles, lists too long; the signature stays."""
    station = yard.station
    bundle = read_model(station, yard.model_id)
    write_in_place(
        yard, {**bundle.files, TEXT: _other_text(bundle.files[TEXT], chance)}, bundle.manifest, station.signers["model"]
    )


def signed_by_a_stranger(yard: Yard, chance: random.Random) -> None:
    """An insider with the bundle keys signs other content with a key of their own."""
    bundle = read_model(yard.station, yard.model_id)
    files = {**bundle.files, TEXT: _other_text(bundle.files[TEXT], chance)}
    write_in_place(yard, files, describe_bundle(files, KIND, bundle.manifest.predicate), new_signer())


def signed_anew(yard: Yard, chance: random.Random) -> None:
    """An insider with the model key signs other content, and puts it where the released model lies."""
    bundle = read_model(yard.station, yard.model_id)
    files = {**bundle.files, TEXT: _other_text(bundle.files[TEXT], chance)}
    write_in_place(yard, files, describe_bundle(files, KIND, bundle.manifest.predicate), yard.station.signers["model"])


def approved(yard: Yard, chance: random.Random) -> None:
    """Everybody was deceived: other trees, signed with the model key, approved by two operators and published."""
    station = yard.station
    bundle = read_model(station, yard.model_id)
    files = {**bundle.files, TEXT: _other_text(bundle.files[TEXT], chance)}
    manifest = describe_bundle(files, KIND, bundle.manifest.predicate)
    model_id = id_of(digest_of(manifest))
    folder = station.models / model_id
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_bundle(folder, manifest, files, bundle.attestations, station.signers["model"], station.bundle_keys)
    with transaction(station.engine) as session:
        like = session.get_one(ModelRecord, yard.model_id)
        registry.enter(session, ModelRecord(**{**like.model_dump(), "model_id": model_id, "state": registry.CANDIDATE}))
    release(station, digest_of(manifest))


MUTATORS: Mapping[str, tuple[str, Mutation]] = {
    "bit flipped": ("disk", bit_flipped),
    "truncated": ("disk", truncated),
    "extended": ("disk", extended),
    "files swapped": ("disk", swapped),
    "renamed": ("disk", renamed),
    "removed": ("disk", removed),
    "file added": ("disk", added),
    "unicode twin": ("disk", unicode_twin),
    "symbolic link": ("disk", linked),
    "folder is a link": ("disk", folder_linked),
    "pipe or folder": ("disk", odd_file),
    "older bundle's file": ("disk", older_file),
    "older bundle": ("disk", older_bundle),
    "other tenant's file": ("disk", other_tenants_file),
    "other tenant's bundle": ("disk", other_tenants_bundle),
    "releases rolled back": ("disk", releases_rolled_back),
    "releases flipped": ("disk", releases_flipped),
    "other trees, sealed anew": ("disk and bundle keys", sealed_anew),
    "other trees, a stranger's signature": ("disk and bundle keys", signed_by_a_stranger),
    "other trees, signed anew": ("and the model key", signed_anew),
    "other trees, approved": ("and two operators", approved),
}


def release(station: Station, digest: str) -> None:
    """Two operators approve, and the station publishes, whatever it is."""
    for number, name in enumerate(DEMO_OPERATORS[:THRESHOLD]):
        signer: Signer = station.chest.signer(chest_name(name))
        propose(repository_of(station), {"main": digest}, signer, datetime.now(UTC), replace=number == 0)
    publish(repository_of(station), online_signer(station), datetime.now(UTC))


def write_in_place(yard: Yard, files: Mapping[str, bytes], manifest: Manifest, signer: Signer) -> None:
    """Put other files under a manifest in the place of the released bundle, encrypted for that place, as its keys allow."""
    context = bundle_context(yard.model_id)
    cipher = yard.station.chest.cipher_of(yard.bundle / KEY_FILE, context)
    for name, content in {**files, MANIFEST_NAME: sign_statement(manifest.to_bytes(), signer)}.items():
        (yard.bundle / f"{name}{SEALED}").write_bytes(cipher.encrypt(content, context + b"\0" + name.encode()))


def _other_text(text: bytes, chance: random.Random) -> bytes:
    kind = chance.choice(list(MUTATIONS))
    for _ in range(20):
        changed = mutant(text, kind, chance)
        if changed != text:
            return changed
    return text + b"\n"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir())


def _any_file(folder: Path, chance: random.Random) -> Path:
    return chance.choice(_files(folder))


def _replace(folder: Path, by: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(by, folder)
