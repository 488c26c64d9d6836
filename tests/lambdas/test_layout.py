"""Names in the results bucket."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from lambdas import layout

KEYS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=400)


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
    assert len(f"{prefix}predictions.jsonl.gz".encode()) <= layout.KEY_LIMIT
    assert prefix.endswith(f"/{'0' * 32}/")
