from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from steps import artifact
from steps.errors import InputError

INFO = {
    "kind": "ngram",
    "labels": ["no", "yes"],
    "decision": {
        "temperature": 0.5,
        "noise": 0.01,
        "review_threshold": 0.9,
        "review_precision": 0.95,
    },
}


def export(folder: Path) -> None:
    (folder / artifact.SYMBOL).write_text("{}")
    (folder / artifact.PARAMS).write_bytes(b"weights")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    artifact.write(folder, INFO, export)
    return folder


def rewrite(model: Path, **changes: object) -> None:
    """A forged description: consistent sums, other content."""
    info = json.loads((model / artifact.INFO).read_text()) | changes
    (model / artifact.INFO).write_text(json.dumps(info))
    manifest = json.loads((model / artifact.MANIFEST).read_text())
    manifest["sha256"][artifact.INFO] = artifact._sha256(model / artifact.INFO)
    (model / artifact.MANIFEST).write_text(json.dumps(manifest))


def test_what_was_written_is_read(model: Path) -> None:
    read = artifact.read(model)
    assert read.kind == "ngram"
    assert read.labels == ("no", "yes")
    assert read.decision == artifact.Decision(0.5, 0.01, 0.9, 0.95)
    assert read.info["format_version"] == artifact.FORMAT_VERSION


@pytest.mark.parametrize("name", [artifact.INFO, artifact.SYMBOL, artifact.PARAMS])
def test_a_changed_byte_is_found_and_named(model: Path, name: str) -> None:
    with (model / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(InputError, match=f"{name} of the model is damaged"):
        artifact.read(model)


@pytest.mark.parametrize(
    "name", [artifact.INFO, artifact.SYMBOL, artifact.PARAMS, artifact.MANIFEST]
)
def test_a_missing_file_is_named(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(InputError, match=f"the model lacks '?{name}"):
        artifact.read(model)


def test_an_extra_file_is_named(model: Path) -> None:
    (model / "extra.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds 'extra\.bin'"):
        artifact.read(model)


def test_a_listed_extra_file_is_refused_too(model: Path) -> None:
    (model / "extra.bin").write_bytes(b"")
    manifest = json.loads((model / artifact.MANIFEST).read_text())
    manifest["sha256"]["extra.bin"] = artifact._sha256(model / "extra.bin")
    (model / artifact.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"holds 'extra\.bin'"):
        artifact.read(model)


def test_a_link_is_no_file_of_a_model(model: Path, tmp_path: Path) -> None:
    (model / artifact.PARAMS).rename(tmp_path / "elsewhere")
    (model / artifact.PARAMS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="no plain file"):
        artifact.read(model)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format_version_is_refused_by_name(model: Path, version: object) -> None:
    rewrite(model, format_version=version)
    with pytest.raises(InputError, match=f"format version {version!r}, this version reads 1"):
        artifact.read(model)


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": ["one"]},
        {"labels": ["a", "a"]},
        {"labels": [0, 1]},
        {"labels": None},
        {"kind": 3},
        {"decision": {}},
        {"decision": INFO["decision"] | {"temperature": 0}},  # type: ignore[operator]
        {"decision": INFO["decision"] | {"noise": 1.5}},  # type: ignore[operator]
        {"decision": INFO["decision"] | {"review_threshold": "x"}},  # type: ignore[operator]
        {"decision": []},
    ],
)
def test_a_malformed_description_is_refused(model: Path, changes: dict[str, object]) -> None:
    rewrite(model, **changes)
    with pytest.raises(InputError, match=r"model\.json of the model is malformed"):
        artifact.read(model)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", "[" * 100_000])
def test_a_manifest_that_is_no_object_is_refused(model: Path, text: str) -> None:
    (model / artifact.MANIFEST).write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json of the model is not"):
        artifact.read(model)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def interrupted(folder: Path) -> None:
        export(folder)
        raise error

    with pytest.raises(error):
        artifact.write(tmp_path, INFO, interrupted)
    assert list(tmp_path.iterdir()) == []


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for member, content in members:
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize("prefix", ["", "./"])
def test_an_archive_is_unpacked(tmp_path: Path, prefix: str) -> None:
    packed = archive(
        tmp_path / "model.tar.gz",
        (entry("./", tarfile.DIRTYPE), b""),
        (entry(prefix + "a.json"), b"one"),
        (entry(prefix + "b-0000.params"), b"two"),
    )
    target = tmp_path / "out"
    target.mkdir()
    artifact.unpack(packed, target)
    assert {p.name: p.read_bytes() for p in target.iterdir()} == {
        "a.json": b"one",
        "b-0000.params": b"two",
    }


@pytest.mark.parametrize(
    "member",
    [
        entry("../evil"),
        entry("/evil"),
        entry("a/../../evil"),
        entry("folder/file"),
        entry(".hidden"),
        entry("folder", tarfile.DIRTYPE),
        entry("link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("link", tarfile.LNKTYPE, "a.json"),
        entry("pipe", tarfile.FIFOTYPE),
        entry("device", tarfile.CHRTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.type.decode()}",
)
def test_a_hostile_member_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    packed = archive(tmp_path / "model.tar.gz", (member, b""))
    target = tmp_path / "deep" / "out"
    target.mkdir(parents=True)
    with pytest.raises(InputError, match="expected plain files only"):
        artifact.unpack(packed, target)
    assert not any(target.iterdir())
    assert not (tmp_path / "deep" / "evil").exists()
    assert not (tmp_path / "evil").exists()


def test_a_member_that_comes_twice_is_refused(tmp_path: Path) -> None:
    packed = archive(tmp_path / "model.tar.gz", (entry("a"), b"1"), (entry("./a"), b"2"))
    with pytest.raises(InputError, match="each once"):
        artifact.unpack(packed, tmp_path)


def test_more_data_than_a_model_has_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "_UNPACKED_LIMIT", 1 << 20)
    packed = archive(tmp_path / "model.tar.gz", (entry("bomb"), bytes((1 << 20) + 1)))
    assert packed.stat().st_size < 10_000
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(InputError, match="too large"):
        artifact.unpack(packed, target)
    assert not any(target.iterdir())


def test_more_members_than_a_model_has_are_refused(tmp_path: Path) -> None:
    packed = archive(tmp_path / "model.tar.gz", *((entry(f"f{n}"), b"") for n in range(100)))
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(InputError, match="too large"):
        artifact.unpack(packed, target)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flipped, lambda _: b"", lambda _: b"no archive"])
def test_a_damaged_archive_is_one_line(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    packed = archive(tmp_path / "model.tar.gz", (entry("a"), os.urandom(100_000)))
    packed.write_bytes(damage(packed.read_bytes()))
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(InputError, match="no readable tar archive") as refused:
        artifact.unpack(packed, target)
    assert "\n" not in str(refused.value)


def test_a_folder_without_an_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no model\.tar\.gz"):
        artifact.unpack(tmp_path / "model.tar.gz", tmp_path)
