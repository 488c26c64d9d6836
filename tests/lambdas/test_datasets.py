"""A data version is what lay in `labelled/` at one moment: by its content, whole, and for good."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas import datasets
from lambdas.datasets import DataChangedError, Datasets, DataVersion, OutOfTimeError
from lambdas.errors import RetrainError
from lambdas.objects import UnreadableError
from tests.lambdas.fakes import Object, at_once
from tests.lambdas.training import DATA, Training, table


@pytest.fixture
def training() -> Training:
    return Training()


def pin(training: Training, parts: Datasets | None = None) -> DataVersion:
    return (parts or training.datasets()).pin(training.time + timedelta(minutes=15))


def test_a_version_pins_the_files_of_both_sets_in_the_order_in_which_they_were_added(
    training: Training,
) -> None:
    training.put("train/z.csv", table(2))
    training.put("train/more/ü b.csv.gz", gzip.compress(table(1200)))
    training.put("test/t.csv", b"\x00 no table")
    training.put("train/folder/", b"")
    version = pin(training)
    assert version.address("train/") == f"s3://data/versions/{version.id}/train/"
    training.check_version(version.id)
    manifest = training.document(f"versions/{version.id}/manifest.json")
    assert (manifest["format"], manifest["made_at"]) == (1, "2026-01-01T00:00:04+00:00")
    first, second = manifest["train"]
    stored = training.s3.newest(DATA, "labelled/train/z.csv")
    assert stored is not None
    assert first == {
        "key": "labelled/train/z.csv",
        "version_id": stored.version,
        "etag": stored.etag.strip('"'),
        "sha256": hashlib.sha256(table(2)).hexdigest(),
        "bytes": len(table(2)),
        "rows": 2,
        "added_at": "2026-01-01T00:00:01+00:00",
        "copy": f"versions/{version.id}/train/0001-z.csv",
    }
    assert second["copy"] == f"versions/{version.id}/train/0002-__b.csv.gz"
    assert second["rows"] == 1200
    assert manifest["test"][0]["rows"] is None


def test_the_same_content_is_the_same_version_and_is_not_made_again(training: Training) -> None:
    training.put_both()
    first = pin(training)
    before = training.stored()
    training.remove("train/a.csv")
    training.put("train/under another name.csv", table(3))
    again = pin(training)
    assert again.manifest == first.manifest
    assert [key for key in training.stored() if key not in before] == [
        key for key in training.stored("versions/files/") if key not in before
    ]


def test_a_version_stays_what_it_is_when_files_are_overwritten_and_removed(
    training: Training,
) -> None:
    training.put_both()
    first = pin(training)
    training.put("train/a.csv", table(5))
    training.put("train/b.csv", table(1))
    second = pin(training)
    training.remove("train/b.csv")
    training.remove("test/t.csv")
    assert first.id != second.id
    training.check_version(first.id)
    training.check_version(second.id)
    read = training.datasets().read(first.id)
    assert read is not None
    assert read.manifest == first.manifest


def test_the_order_of_the_files_counts_for_later_labels_win(training: Training) -> None:
    training.put("test/t.csv", table(2))
    training.put("train/a.csv", table(1))
    training.put("train/b.csv", table(2))
    first = pin(training)
    training.put("train/a.csv", table(1))
    assert pin(training).id != first.id


def test_a_file_is_read_once_however_many_versions_it_is_in(training: Training) -> None:
    training.put_both()
    pin(training)
    training.put("train/b.csv", table(1))
    read: list[str] = []
    original = training.s3.get_object

    def watch(**request: Any) -> Any:
        if request["Key"].startswith("labelled/"):
            read.append(request["Key"])
        return original(**request)

    training.s3.get_object = watch  # type: ignore[method-assign]
    pin(training)
    assert read == ["labelled/train/b.csv"]


@pytest.mark.parametrize(
    ("present", "message"),
    [
        ("test", "labelled/train/; add some with `claimflow data add FILE`$"),
        ("train", "labelled/test/; add some with `claimflow data add FILE --test`$"),
    ],
)
def test_a_set_without_files_is_for_people_to_fill(
    training: Training, present: str, message: str
) -> None:
    training.put(f"{present}/a.csv", table(1))
    with pytest.raises(RetrainError, match=message):
        pin(training)


def test_too_many_and_too_large_files_are_refused_in_one_line(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.put_both()
    training.put("train/b.csv", table(1))
    monkeypatch.setattr(datasets, "MOST_FILES", 1)
    with pytest.raises(RetrainError, match=r"2 files in s3://data/labelled/train/, expected at mo"):
        pin(training)
    monkeypatch.setattr(datasets, "MOST_FILES", 10)
    monkeypatch.setattr(datasets, "LARGEST_FILE", 20)
    with pytest.raises(RetrainError, match=r"a\.csv has 35 bytes, expected at most 20"):
        pin(training)


@pytest.mark.parametrize("at", ["get_object", "copy_object"])
def test_a_file_that_changes_meanwhile_is_no_part_of_any_version(
    training: Training, at: str
) -> None:
    training.put_both()
    key = "labelled/train/a.csv"

    def suspended(name: str, effect: Callable[[], Any]) -> Any:
        if name == at:  # a bucket without versioning: what was there is gone
            old = training.s3.buckets[DATA][key][0]
            changed = Object(key, b"another", '"e"', old.version, old.time)
            training.s3.buckets[DATA][key] = [changed]
        return effect()

    if at == "get_object":
        listed = training.datasets().labelled()
        parts = training.datasets()
        parts.labelled = lambda: listed  # type: ignore[method-assign]
    else:
        parts = training.datasets()
    training.call = suspended
    with pytest.raises(DataChangedError, match=r"labelled/train/a\.csv changed"):
        pin(training, parts)
    assert training.versions() == []


def test_with_no_time_left_it_stops_and_goes_on_later(training: Training) -> None:
    training.put_both()
    for number in range(20):
        training.put(f"train/{number}.csv", table(number))

    def slow(_name: str, effect: Callable[[], Any]) -> Any:
        training.time += timedelta(seconds=25)
        return effect()

    training.call = slow
    late = 0
    while True:
        try:
            version = pin(training)
            break
        except OutOfTimeError as error:
            assert str(error).endswith(".csv: call again")
            late += 1
    assert late in range(2, 5)
    training.call = at_once
    training.check_version(version.id)


def test_damaged_documents_of_ours_are_named(training: Training) -> None:
    training.put_both()
    version = pin(training)
    key = f"versions/{version.id}/manifest.json"
    training.s3.put_object(Bucket=DATA, Key=key, Body=b"{")
    with pytest.raises(UnreadableError, match=f"s3://data/{key} is damaged"):
        pin(training)


class DeadError(BaseException):
    """The process is gone."""


@given(
    deaths=st.lists(st.tuples(st.integers(0, 14), st.booleans()), max_size=4),
    renamed=st.booleans(),
)
def test_killed_at_any_request_a_version_is_whole_or_not_there(
    deaths: list[tuple[int, bool]], renamed: bool
) -> None:
    training = Training()
    training.put_both()
    training.put("train/b.csv", table(1))
    for number, (place, is_after) in enumerate(deaths):
        rest = place

        def dying(_name: str, effect: Callable[[], Any], is_after: bool = is_after) -> Any:
            nonlocal rest
            rest -= 1
            if rest < 0 and not is_after:
                raise DeadError
            answer = effect()
            if rest < 0:
                raise DeadError
            return answer

        training.call = dying
        with suppress(DeadError):
            pin(training)
        for version in training.versions():
            training.check_version(version)
        if renamed:  # the same content in the same order, by another name
            training.remove("train/b.csv" if not number else f"train/b{number}.csv")
            training.put(f"train/b{number + 1}.csv", table(1))
    training.call = at_once
    version = pin(training).id
    assert training.versions() == [version]
    training.check_version(version)
