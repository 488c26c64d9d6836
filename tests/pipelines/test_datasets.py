"""`claimflow data`: what is added, what there is, and what versions differ in."""

from __future__ import annotations

import gzip
import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lambdas import layout
from lambdas.datasets import Datasets as Pinning
from pipelines import terminal
from pipelines.cli import claimflow
from pipelines.data.datasets import Datasets
from pipelines.data.versions import diff
from pipelines.errors import UserError
from tests.pipelines.deployment import SETTINGS, Deployment

BUCKET = SETTINGS.bucket("data")


class Claims:
    """Files of claims on this machine, and the data bucket."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self.deployment = deployment
        self.folder = folder
        self.datasets = Datasets(deployment.aws)
        self._pins = 0

    def file(self, name: str, *texts: str) -> Path:
        path = self.folder / name
        path.write_text("text,label\n" + "".join(f"{text},fire\n" for text in texts), "utf-8")
        return path

    def add(self, name: str, *texts: str, test: bool = False, replace: bool = False) -> str:
        (key,) = self.datasets.add([self.file(name, *texts)], test, replace).keys
        return key

    def put(self, key: str, body: bytes) -> None:
        """As anyone may, without the command."""
        self.deployment.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def listed(self) -> list[str]:
        return [one.key for one in self.datasets.labelled()]

    def body(self, key: str) -> bytes:
        body: bytes = self.deployment.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return body

    def pin(self) -> str:
        """Makes a version as the function does, each a minute after the one before."""
        self._pins += 1
        now = datetime.now(timezone.utc) + timedelta(minutes=self._pins)
        pinning = Pinning(self.deployment.s3, BUCKET, lambda: now)
        return pinning.pin(now + timedelta(hours=1)).id

    def run(self, *arguments: str) -> Result:
        done = CliRunner().invoke(claimflow, ["data", *arguments])
        assert done.exception is None or isinstance(done.exception, (SystemExit, UserError))
        return done

    def document(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").output)


@pytest.fixture
def claims(deployment: Deployment, tmp_path: Path) -> Claims:
    return Claims(deployment, tmp_path)


def test_a_file_is_kept_as_it_is_beside_those_that_are_there(claims: Claims) -> None:
    first = claims.add("a.csv", "one")
    second = claims.add("a.csv", "two")
    assert claims.listed() == [first, second]
    assert claims.body(second) == b"text,label\ntwo,fire\n"
    assert all(layout.labelled_set(key) == "train" for key in claims.listed())


def test_a_name_that_s3_would_have_to_escape_is_made_safe(claims: Claims) -> None:
    key = claims.add("März %2F..\N{PILE OF POO} 1.csv", "one")
    assert key.isascii()
    assert key.endswith("-M_rz__2F..__1.csv")


def test_files_that_are_added_at_once_keep_their_order(claims: Claims) -> None:
    paths = [claims.file(f"{9 - number}.csv", f"text {number}") for number in range(9)]
    keys = claims.datasets.add(paths).keys
    assert keys == sorted(keys), "S3 tells seconds only: names decide between files of one second"
    assert [key[-5:] for key in claims.listed()] == [path.name for path in paths]


def test_the_same_content_is_not_added_twice(claims: Claims) -> None:
    key = claims.add("a.csv", "one")
    again = claims.datasets.add([claims.file("b.csv", "one"), claims.file("c.csv", "two")])
    assert [(one.key == key, one.is_new) for one in again.files] == [(True, False), (False, True)]
    twice = claims.datasets.add([claims.file("d.csv", "three"), claims.file("e.csv", "three")])
    assert [one.is_new for one in twice.files] == [True, False]
    assert len(claims.listed()) == 3


def test_what_others_have_put_is_known_by_its_content_once_it_is_in_a_version(
    claims: Claims,
) -> None:
    path = claims.file("a.csv", "one")
    claims.put("labelled/train/by hand.csv", path.read_bytes())
    claims.add("test.csv", "three", test=True)
    claims.pin()
    assert not claims.datasets.add([path]).is_change
    claims.put("labelled/train/by hand.csv", b"text,label\nother,fire\n")
    assert claims.datasets.add([path]).is_change


def test_nothing_is_uploaded_when_one_of_the_files_is_unfit(claims: Claims) -> None:
    unfit = claims.folder / "unfit.csv"
    unfit.write_bytes(b"words,class\na,b\n")
    with pytest.raises(UserError, match=r'unfit\.csv: no column "text"'):
        claims.datasets.add([claims.file("a.csv", "one"), unfit])
    assert claims.listed() == []


def test_the_test_set_stays_unless_it_is_replaced(claims: Claims) -> None:
    train = claims.add("train.csv", "one")
    old = claims.add("test.csv", "two", test=True)
    with pytest.raises(UserError, match=r"a held-out test set already.*--replace"):
        claims.add("other.csv", "three", test=True)
    assert claims.listed() == [train, old]
    assert claims.add("again.csv", "two", test=True) == old, "the same needs no --replace"
    new = claims.add("other.csv", "three", test=True, replace=True)
    assert claims.listed() == [train, new]
    assert layout.labelled_set(new) == "test"


def test_a_replacement_that_was_interrupted_is_completed_by_the_next(claims: Claims) -> None:
    old = claims.add("old.csv", "one", test=True)
    new = claims.add("new.csv", "two", test=True, replace=True)
    claims.put(old, b"text,label\none,fire\n")  # as if it had not been deleted yet
    done = claims.datasets.add([claims.folder / "new.csv"], test=True, replace=True)
    assert done.replaced == (old,)
    assert claims.listed() == [new]


@pytest.mark.parametrize("test", [False, True])
def test_a_file_cannot_be_in_both_sets(claims: Claims, test: bool) -> None:
    key = claims.add("a.csv", "one", test=test)
    with pytest.raises(UserError, match=f"b.csv: the same file is in s3://{BUCKET}/{key}"):
        claims.add("b.csv", "one", test=not test)
    assert claims.listed() == [key]


def test_what_is_no_file_of_a_set_is_not_listed(claims: Claims) -> None:
    claims.put("labelled/train/", b"")
    claims.put("labelled/readme.txt", b"x")
    claims.put("labelled/testing/a.csv", b"x")
    assert claims.listed() == []


def test_versions_are_newest_first_and_found_by_the_beginning_of_their_id(claims: Claims) -> None:
    claims.add("test.csv", "zero", test=True)
    made = []
    for number in range(3):
        claims.add("train.csv", f"text {number}", f"more {number}")
        made.append(claims.pin())
    claims.put("versions/00000000000000aa/plan.json", b"{}")  # still being made
    claims.put("versions/files/0123456789abcdef.json", b"{}")
    versions = claims.datasets.versions()
    assert [one.version for one in versions] == made[::-1]
    assert claims.datasets.version(made[1]) == claims.datasets.version(made[1][:12]) == versions[1]
    stored = json.loads(claims.body(f"versions/{made[2]}/manifest.json"))
    assert json.loads(json.dumps(versions[0].document())) == stored
    assert [one.rows for one in versions[0].train] == [2, 2, 2]


@pytest.mark.parametrize("name", ["ffff", "00", "../files", "", "FFFF"])
def test_a_version_that_is_not_there_is_one_line(claims: Claims, name: str) -> None:
    claims.put("versions/00000000000000aa/plan.json", b"{}")
    with pytest.raises(UserError, match="There is no data version"):
        claims.datasets.version(name)


def test_a_beginning_that_means_two_versions_is_refused(claims: Claims) -> None:
    claims.add("train.csv", "one")
    claims.add("test.csv", "two", test=True)
    manifest = claims.body(f"versions/{claims.pin()}/manifest.json")
    for name in ("abc0000000000000", "abc1111111111111"):
        claims.put(f"versions/{name}/manifest.json", manifest)
    with pytest.raises(UserError, match="2 data versions begin with abc: give more"):
        claims.datasets.version("abc")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"no json", "is damaged"),
        (b"[]", "is damaged"),
        (b'{"format": 1}', "is damaged"),
        (b'{"format": 1, "version": "a", "made_at": "b", "train": [{}], "test": []}', "is damaged"),
        (b'{"format": 2}', "is of format 2, expected 1"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_named(claims: Claims, body: bytes, said: str) -> None:
    claims.put("versions/00000000000000aa/manifest.json", body)
    with pytest.raises(UserError, match=f"versions/00000000000000aa/manifest.json {said}"):
        claims.datasets.version("00000000000000aa")


def test_versions_differ_by_content_not_by_name(claims: Claims) -> None:
    claims.put("labelled/train/1.csv", b"text,label\none,fire\n")
    claims.put("labelled/train/2.csv", b"text,label\ntwo,fire\nthree,fire\n")
    claims.add("test.csv", "four", test=True)
    old = claims.datasets.version(claims.pin())
    claims.deployment.s3.delete_object(Bucket=BUCKET, Key="labelled/train/1.csv")
    claims.deployment.s3.delete_object(Bucket=BUCKET, Key="labelled/train/2.csv")
    claims.put("labelled/train/renamed.csv", b"text,label\none,fire\n")
    claims.put("labelled/train/zipped.csv.gz", gzip.compress(b"text,label\nfive,fire\n"))
    found = diff(old, claims.datasets.version(claims.pin()))
    assert [one.key for one in found["train"].added] == ["labelled/train/zipped.csv.gz"]
    assert [one.key for one in found["train"].removed] == ["labelled/train/2.csv"]
    assert found["train"].document()["rows_added"] == 1
    assert found["train"].document()["rows_removed"] == 2
    assert not found["train"].is_reordered
    assert not found["test"].is_changed


def test_another_order_of_the_same_files_is_a_difference(claims: Claims) -> None:
    bodies = [b"text,label\none,fire\n", b"text,label\none,water\n"]
    claims.add("test.csv", "two", test=True)
    versions = []
    for order in (bodies, bodies[::-1]):
        for number, body in enumerate(order):
            claims.put(f"labelled/train/{number}.csv", body)
        versions.append(claims.datasets.version(claims.pin()))
    found = diff(*versions)["train"]
    assert (found.added, found.removed, found.is_reordered) == ((), (), True)


def test_adding_tells_what_happens_next(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(claims.file("a.csv", "one", "two"))
    monkeypatch.setenv("CLAIMFLOW_DEPLOYMENT__QUIET_SECONDS", "40")
    first = claims.run("add", path).output.splitlines()
    assert first[0] == f"added: 2 rows, {path} in s3://{BUCKET}/{claims.listed()[0]}"
    assert "a retraining starts by itself when nothing more was added for 40 s" in first[1]
    second = claims.run("add", path).output.splitlines()
    assert second[0].startswith("already there, not added again: 2 rows")
    assert second[1] == "nothing has changed, so no training follows"
    monkeypatch.setenv("CLAIMFLOW_DEPLOYMENT__RETRAIN_ON_DATA", "false")
    third = claims.run("add", str(claims.file("b.csv", "three"))).output
    assert third.endswith("next: `claimflow retrain`\n")


def test_replacing_the_test_set_says_that_the_next_comparison_is_on_new_rows(
    claims: Claims,
) -> None:
    old = claims.add("old.csv", "one", test=True)
    path = str(claims.file("new.csv", "two"))
    refused = claims.run("add", "--test", path)
    assert "--replace" in str(refused.exception)
    told = claims.document("add", "--test", "--replace", path)
    assert told["replaced"] == [f"s3://{BUCKET}/{old}"]
    assert told["retraining_starts_in_seconds"] == 300
    back = claims.run("add", "--test", "--replace", str(claims.folder / "old.csv")).output
    assert "The next comparison is on new rows" in back


def test_what_is_only_taken_away_starts_no_training_by_itself(claims: Claims) -> None:
    claims.add("old.csv", "one", test=True)
    claims.put("labelled/test/plain.csv", b"text,label\ntwo,fire\n")
    path = str(claims.folder / "old.csv")
    told = claims.document("add", "--test", "--replace", path)
    assert told["replaced"] == [f"s3://{BUCKET}/labelled/test/plain.csv"]
    assert told["retraining_starts_in_seconds"] is None


def test_a_removed_file_is_in_no_later_version_and_stays_in_the_earlier_ones(
    claims: Claims,
) -> None:
    stays, bad = claims.add("good.csv", "one"), claims.add("bad.csv", "two")
    test = claims.add("test.csv", "three", test=True)
    before = claims.datasets.version(claims.pin())
    (removed,) = claims.datasets.remove(["bad.csv"])
    assert removed.key == bad
    assert claims.listed() == [stays, test]
    after = claims.datasets.version(claims.pin())
    assert [one.key for one in after.train] == [stays]
    assert claims.datasets.version(before.version) == before
    (copy,) = [one.copy for one in before.train if one.key == bad]
    assert claims.body(copy) == b"text,label\ntwo,fire\n"
    assert claims.datasets.add([claims.folder / "bad.csv"]).is_change, "it can come back"


@pytest.mark.parametrize("how", ["key", "address", "name", "old name", "sum", "short sum"])
def test_a_file_is_removed_by_any_of_its_names(claims: Claims, how: str) -> None:
    stays = claims.add("other.csv", "zero")
    path = claims.file("März 1.csv", "one")
    (added,) = claims.datasets.add([path]).files
    name = {
        "key": added.key,
        "address": f"s3://{BUCKET}/{added.key}",
        "name": added.key.rpartition("/")[2],
        "old name": path.name,
        "sum": added.file.sha256,
        "short sum": added.file.sha256[:6],
    }[how]
    assert [one.key for one in claims.datasets.remove([name, name])] == [added.key]
    assert claims.listed() == [stays]


def test_what_others_have_put_is_removed_by_name_and_by_the_sum_in_its_version(
    claims: Claims,
) -> None:
    claims.put("labelled/train/by hand.csv", b"text,label\none,fire\n")
    claims.put("labelled/train/deep/er.csv", b"text,label\ntwo,fire\n")
    claims.add("test.csv", "three", test=True)
    version = claims.datasets.version(claims.pin())
    (sha256,) = [one.sha256 for one in version.train if one.key.endswith("hand.csv")]
    claims.datasets.remove([sha256, "er.csv"])
    assert [one.set for one in claims.datasets.labelled()] == ["test"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("c.csv", "There is no file c.csv in s3://.*/labelled/; `claimflow data show`"),
        ("", "There is no file "),
        ("labelled/train/", "There is no file"),
        ("versions/files/x.json", "There is no file"),
        ("../../a.csv", "There is no file"),
        ("data/unique.csv", "There is no file"),
        ("0123abcd", "There is no file"),
        ("a.csv", "a.csv means 2 files, labelled/train/.*, labelled/.*: give the key of one"),
    ],
)
def test_nothing_is_removed_where_a_name_is_unknown_or_ambiguous(
    claims: Claims, name: str, said: str
) -> None:
    claims.add("unique.csv", "one")
    claims.add("data_unique.csv", "two")
    claims.add("a.csv", "three")
    claims.add("a.csv", "four", test=True)
    claims.put("versions/files/x.json", b"{}")
    before = claims.listed()
    done = claims.run("remove", "unique.csv", name)
    assert isinstance(done.exception, UserError)
    (line,) = str(done.exception).splitlines()
    assert re.match(said, line)
    assert claims.listed() == before


def test_removing_tells_what_happens_next(claims: Claims) -> None:
    train = [claims.add(name, name) for name in ("a.csv", "b.csv")]
    test = claims.add("test.csv", "three", test=True)
    first = claims.run("remove", "a.csv").output.splitlines()
    assert first[0] == f"removed: s3://{BUCKET}/{train[0]}, 22 bytes"
    assert "for 30 days; data versions keep their copies" in first[1]
    assert first[2] == "left: train 1 file, 22 bytes; test 1 file, 22 bytes"
    assert first[3].startswith("next: `claimflow retrain`; ")
    second = claims.run("remove", "test.csv").output
    assert "the next comparison is on new rows" in second
    assert "next: `claimflow data add FILE --test`, then `claimflow retrain`" in second
    claims.add("test.csv", "three", test=True)
    told = claims.document("remove", "b.csv")
    assert told["removed"] == [f"s3://{BUCKET}/{train[1]}"]
    assert told["kept_days"] == 30
    assert len(told["left"]) == 1 and test.rpartition("-")[2] in told["left"][0]


def test_replace_without_test_is_misuse(claims: Claims) -> None:
    done = claims.run("add", "--replace", str(claims.file("a.csv", "one")))
    assert done.exit_code == 2
    assert "--replace needs --test" in done.output


def test_a_large_file_is_uploaded_in_parts_with_progress(
    claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "LARGE", 1)
    path = claims.file("large.csv", *("x" * 999_000 for _ in range(20)))
    done = claims.run("add", str(path))
    tenths = [line for line in done.output.splitlines() if line.startswith("large.csv: ")]
    assert re.fullmatch(r"large.csv: 100 % of 20 MB, \d+\.\d MB/s", tenths[-1])
    assert len(tenths) > 1
    assert claims.body(claims.listed()[0]) == path.read_bytes()


def test_show_tells_what_lies_there_and_what_of_it_no_version_has(claims: Claims) -> None:
    train = claims.add("train.csv", "one", "two")
    claims.add("test.csv", "three", test=True)
    assert "no version yet" in claims.run("show").output
    assert claims.document("show")["newest"] is None
    version = claims.pin()
    new = claims.add("new.csv", "four")
    shown = claims.run("show").output
    assert f"newest of 1 version: {version}, made " in shown
    assert "train 1 file, 2 rows; test 1 file, 1 row" in shown
    (marked,) = [line for line in shown.splitlines() if "in no version yet" in line]
    assert new in marked
    told = claims.document("show")
    pinned = {one["key"]: one["pinned"] for one in told["labelled"]}
    assert (pinned[train], pinned[new], len(pinned)) == (True, False, 3)
    assert told["newest"]["version"] == version


def test_show_tells_of_a_version_what_it_holds_also_a_file_that_is_no_csv(claims: Claims) -> None:
    key = claims.add("train.csv", "one", "two")
    claims.add("test.csv", "three", test=True)
    claims.put("labelled/train/picture.png", b"\x89PNG\r\n\x1a\n\xff")
    version = claims.pin()
    shown = claims.run("show", version[:8]).output
    assert f"s3://{BUCKET}/versions/{version}/manifest.json" in shown
    assert "train: 2 files, 2 rows" in shown
    assert any(line.split()[-3:] == ["2", "rows", key] for line in shown.splitlines())
    assert any("no CSV" in line and "picture.png" in line for line in shown.splitlines())
    assert claims.document("show", version)["version"] == version


def test_diff_compares_the_two_newest_unless_told(claims: Claims) -> None:
    assert "no data version yet" in str(claims.run("diff").exception)
    claims.add("train.csv", "zero")
    claims.add("test.csv", "test", test=True)
    made = [claims.pin()]
    assert "only one data version yet" in str(claims.run("diff").exception)
    for number in (1, 2):
        claims.add("more.csv", *(f"text {number} {at}" for at in range(number)))
        made.append(claims.pin())
    told = claims.document("diff")
    assert (told["old"], told["new"]) == (made[1], made[2])
    assert (told["train"]["rows_added"], told["test"]["is_changed"]) == (2, False)
    assert claims.document("diff", made[0][:10])["train"]["rows_added"] == 3
    back = claims.run("diff", made[2], made[0]).output
    assert "train: 0 files and 0 rows more, 2 files and 3 rows fewer" in back
    assert "test: the same" in back


def test_diff_warns_of_another_test_set(claims: Claims) -> None:
    claims.add("train.csv", "zero")
    for text in ("one", "two"):
        claims.add("test.csv", text, test=True, replace=True)
        claims.pin()
    shown = claims.run("diff").output
    assert "train: the same" in shown
    assert "test: 1 file and 1 row more, 1 file and 1 row fewer" in shown
    assert "measured on different rows" in shown
