"""Names in the buckets."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas import layout

KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=400)


def test_the_id_is_the_documented_formula_that_clients_compute_too() -> None:
    expected = hashlib.sha256("b\nincoming/ü a+b%20.csv\nv1".encode()).hexdigest()[:32]
    assert layout.upload_id("b", "incoming/ü a+b%20.csv", "v1") == expected
    assert expected == "1fc162b38eb31a46a44da3702e0829b3"


def test_another_bucket_key_or_version_is_another_upload() -> None:
    ids = {
        layout.upload_id(bucket, key, version)
        for bucket in ("a", "b")
        for key in ("incoming/a", "incoming/b")
        for version in ("1", "2")
    }
    assert len(ids) == 8


def test_results_lie_under_the_name_of_the_upload() -> None:
    upload = "0" * 32
    assert layout.results_prefix("incoming/may/a.csv", upload) == f"results/may/a.csv/{upload}/"


@given(KEYS)
def test_every_key_of_the_results_fits_into_s3(key: str) -> None:
    prefix = layout.results_prefix(f"incoming/{key}", "0" * 32)
    assert len(f"{prefix}retry-9999/predictions.jsonl.gz".encode()) <= layout.KEY_LIMIT
    assert prefix.endswith(f"/{'0' * 32}/")


@given(KEYS, st.integers(1, 9999), st.integers(1, 9999))
def test_the_keys_of_an_attempt_tell_upload_and_attempt(key: str, one: int, other: int) -> None:
    upload = "0123456789abcdef" * 2
    first = layout.results_prefix(f"incoming/{key}", upload)
    prefix = layout.prefix_of_attempt(layout.prefix_of_attempt(first, other), one)
    assert layout.parse_manifest_key(f"{prefix}manifest.json") == (upload, one)
    assert layout.parse_job_name(layout.job_name(upload, one)) == (upload, one)
    assert layout.prefix_of_attempt(prefix, 1) == first


@pytest.mark.parametrize(
    "key",
    [
        f"results/a.csv/{'0' * 32}/predictions.csv",
        f"results/a.csv/{'0' * 31}/manifest.json",
        f"results/a.csv/{'0' * 32}/retry-0/manifest.json",
        f"shards/a.csv/{'0' * 32}/manifest.json",
    ],
)
def test_other_objects_are_no_manifests(key: str) -> None:
    assert layout.parse_manifest_key(key) is None


@pytest.mark.parametrize("name", ["predict", f"predict-{'0' * 33}", f"predict-{'0' * 32}-x", ""])
def test_other_jobs_are_none_of_ours(name: str) -> None:
    assert layout.parse_job_name(name) is None


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("labelled/train/a.csv", "train"),
        ("labelled/test/x/a.csv", "test"),
        ("labelled/train/", None),
        ("labelled/train/x/", None),
        ("labelled/a.csv", None),
        ("versions/0/train/a.csv", None),
    ],
)
def test_only_files_below_the_two_sets_are_labelled_files(key: str, name: str | None) -> None:
    assert layout.labelled_set(key) == name


def test_copies_lie_in_their_order_under_names_that_any_file_system_takes() -> None:
    key = layout.copy_key("0123456789abcdef", "train", 7, "labelled/train/x/ä b%.csv.gz")
    assert key == "versions/0123456789abcdef/train/0007-__b_.csv.gz"
    long = layout.copy_key("0123456789abcdef", "train", 7, "labelled/train/" + "ä" * 900)
    assert len(long.rpartition("/")[2]) < 255


def test_a_data_version_is_known_by_its_addresses() -> None:
    version = "0123456789abcdef"
    for name in ("train/", "test/0001-a.csv", "manifest.json"):
        assert layout.parse_version(f"s3://data/versions/{version}/{name}", "data") == version
    for other in (
        f"s3://other/versions/{version}/train/",
        "s3://data/versions/files/a.json",
        "s3://data/train.csv",
        "",
    ):
        assert layout.parse_version(other, "data") is None


def test_what_was_counted_is_kept_for_each_version_of_a_file() -> None:
    keys = {layout.counted_key(key, version) for key in "ab" for version in "12"}
    assert len(keys) == 4
    digest = hashlib.sha256(b"labelled/train/a.csv\nv1").hexdigest()[:32]
    assert layout.counted_key("labelled/train/a.csv", "v1") == f"versions/files/{digest}.json"
