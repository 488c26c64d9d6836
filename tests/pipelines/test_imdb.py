from __future__ import annotations

import csv
import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipelines.data import imdb
from pipelines.data.imdb import SHA256, URL, fetch_imdb
from pipelines.errors import UserError

REVIEWS = {
    "aclImdb/train/pos/0_9.txt": "A masterpiece,<br />truly",
    "aclImdb/train/pos/10_8.txt": 'He said "wow"',
    "aclImdb/train/neg/0_1.txt": "Dull é",
    "aclImdb/test/pos/3_10.txt": "Fine\nfilm",
    "aclImdb/test/neg/4_2.txt": "Awful",
}


def pack(members: dict[str, str | tarfile.TarInfo]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            data = content.encode("utf-8")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def link(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def rows(path: Path) -> list[tuple[str, ...]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [tuple(row) for row in csv.reader(file)]


def fetch(folder: Path, content: bytes, **arguments: object) -> imdb.ImdbPaths:
    archive = folder / "archive.tar.gz"
    archive.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return fetch_imdb(folder / "out", archive, sha256=sha256, **arguments)  # type: ignore[arg-type]


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    (line,) = str(caught.value).splitlines()
    return line


def test_the_archive_and_its_sum_are_those_of_its_home() -> None:
    assert URL == "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
    assert len(bytes.fromhex(SHA256)) == 32


def test_reviews_become_two_tables(tmp_path: Path) -> None:
    paths = fetch(tmp_path, pack(dict(REVIEWS)))
    train, test = rows(paths.train), rows(paths.test)
    assert train[0] == test[0] == ("review", "sentiment")
    assert set(train[1:]) == {
        ("A masterpiece,<br />truly", "1"),
        ('He said "wow"', "1"),
        ("Dull é", "0"),
    }
    assert set(test[1:]) == {("Fine\nfilm", "1"), ("Awful", "0")}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["test.csv", "train.csv"]


def test_the_order_depends_on_the_seed_not_on_the_archive(tmp_path: Path) -> None:
    members = {
        f"aclImdb/{split}/pos/{n}_7.txt": f"{n}" for split in ("train", "test") for n in range(50)
    }
    backwards = dict(reversed(members.items()))
    first, second, third = (
        rows(fetch(tmp_path, pack(dict(order)), seed=seed).train)
        for order, seed in ((members, 1), (backwards, 1), (members, 2))
    )
    assert first == second
    assert first != third
    assert sorted(first) == sorted(third)


@pytest.mark.parametrize(
    "hostile",
    [
        {"../evil.txt": "x", "aclImdb/train/pos/../../../evil.txt": "x"},
        {"/tmp/evil.txt": "x", "/aclImdb/train/pos/1_9.txt": "x"},
        {"aclImdb/train/unsup/1_0.txt": "x", "aclImdb/README": "x"},
        {
            "aclImdb/train/pos/7_7.txt": link(
                "aclImdb/train/pos/7_7.txt", tarfile.SYMTYPE, "/etc/passwd"
            )
        },
        {
            "aclImdb/train/pos/7_7.txt": link(
                "aclImdb/train/pos/7_7.txt", tarfile.LNKTYPE, "/etc/passwd"
            )
        },
        {"aclImdb/train/pos/7_7.txt": link("aclImdb/train/pos/7_7.txt", tarfile.FIFOTYPE, "")},
        {"aclImdb/train/pos/1_9.txt\n": "x", "aclImdb/train/pos/1_9.txt.exe": "x"},
    ],
    ids=["above", "absolute", "unlabelled", "symlink", "hard link", "fifo", "suffix"],
)
def test_other_members_leave_no_trace(
    tmp_path: Path, hostile: dict[str, str | tarfile.TarInfo]
) -> None:
    paths = fetch(tmp_path, pack({**hostile, **REVIEWS}))
    assert len(rows(paths.train)) == 4
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"archive.tar.gz", "out/train.csv", "out/test.csv"}


def test_an_archive_with_another_sum_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    archive = tmp_path / "aclImdb_v1.tar.gz"
    archive.write_bytes(pack(dict(REVIEWS)))
    line = refused(lambda: fetch_imdb(tmp_path / "out", archive))
    assert line.startswith("aclImdb_v1.tar.gz is not the archive of the Large Movie Review Dataset")
    assert SHA256 in line
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"no archive", "cannot be read"),
        (b"", "cannot be read"),
        (pack(dict(REVIEWS))[:150], "cannot be read"),
        (pack({"aclImdb/train/pos/1_9.txt": "x"}), "holds no reviews in aclImdb/test"),
        (pack({"aclImdb/train/pos/1_9.txt": "x" * 1_000_001}), "holds more than the reviews"),
    ],
    ids=["no archive", "empty", "cut short", "half", "too large"],
)
def test_a_bad_archive_is_one_line_and_leaves_nothing(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    assert expected in refused(lambda: fetch(tmp_path, content))
    assert list((tmp_path / "out").iterdir()) == []


def test_text_that_is_not_utf8_is_one_line(tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo("aclImdb/train/pos/1_9.txt")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"\xff"))
    assert "cannot be read" in refused(lambda: fetch(tmp_path, file.getvalue()))


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    line = refused(lambda: fetch_imdb(tmp_path / "out", tmp_path / "nowhere.tar.gz"))
    assert "nowhere.tar.gz: No such file" in line


@contextmanager
def served(content: bytes, status: int = 200, promised: int | None = None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(promised or len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/aclImdb_v1.tar.gz"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_archive_is_downloaded_and_not_kept(tmp_path: Path) -> None:
    content = pack(dict(REVIEWS))
    seen: dict[str, list[tuple[int, int]]] = {"download": [], "reading": []}
    with served(content) as url:
        paths = fetch_imdb(
            tmp_path,
            progress=lambda name, _: nullcontext(lambda *told: seen[name].append(told)),
            url=url,
            sha256=hashlib.sha256(content).hexdigest(),
        )
    assert len(rows(paths.train)) == 4
    assert seen["download"][-1] == (len(content), len(content))
    assert {total for _, total in seen["reading"]} == {len(content)}
    assert sorted(seen["reading"]) == seen["reading"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.csv", "train.csv"]


@pytest.mark.parametrize(
    ("status", "promised", "expected"),
    [
        (404, None, "cannot be downloaded (Not Found)"),
        (200, 10_000_000, "cut short after"),
        (200, None, "is not the archive of the Large Movie Review Dataset"),
    ],
)
def test_a_failed_download_is_one_line_and_leaves_nothing(
    tmp_path: Path, status: int, promised: int | None, expected: str
) -> None:
    with served(pack(dict(REVIEWS)), status, promised) as url:
        assert expected in refused(lambda: fetch_imdb(tmp_path, url=url))
    assert list(tmp_path.iterdir()) == []


def test_an_endless_download_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imdb, "_MAX_ARCHIVE", 100)
    with served(b"x" * 200) as url:
        assert "more than 100 bytes" in refused(lambda: fetch_imdb(tmp_path, url=url))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "nonsense"])
def test_only_web_addresses_are_read(tmp_path: Path, url: str) -> None:
    assert "not a web address" in refused(lambda: fetch_imdb(tmp_path, url=url))


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with served(b"") as url:
        pass
    assert "try again, or get the file in another way" in refused(
        lambda: fetch_imdb(tmp_path, url=url)
    )
