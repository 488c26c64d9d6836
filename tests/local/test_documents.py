"""What the local cloud remembers lies in files, whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.local.documents import Documents


@settings(deadline=None, max_examples=50)
@given(
    keys=st.sets(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400), max_size=5
    )
)
def test_documents_are_there_again_under_any_key(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str]
) -> None:
    root = tmp_path_factory.mktemp("documents")
    documents = Documents(root)
    for key in keys:
        documents.put("kind", key, {"key": key})
    again = Documents(root)
    assert {key: again.get("kind", key) for key in keys} == {key: {"key": key} for key in keys}
    for key in keys:
        again.delete("kind", key)
    assert Documents(root).all("kind") == []


def test_a_reader_cannot_change_what_is_kept(tmp_path: Path) -> None:
    documents = Documents(tmp_path)
    given_document = {"a": [1]}
    documents.put("kind", "k", given_document)
    given_document["a"].append(2)
    found = documents.get("kind", "k")
    assert found == {"a": [1]}
    found["a"].append(3)
    assert documents.all("kind") == [{"a": [1]}]


def test_changes_from_many_threads_all_count(tmp_path: Path) -> None:
    documents = Documents(tmp_path)
    documents.put("kind", "k", {"n": 0})

    def add() -> None:
        for _ in range(50):
            documents.change("kind", "k", lambda document: document.update(n=document["n"] + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Documents(tmp_path).get("kind", "k") == {"n": 200}


def test_a_half_written_file_is_not_read(tmp_path: Path) -> None:
    Documents(tmp_path).put("kind", "k", {"n": 1})
    (tmp_path / "kind" / "other.json.123.part").write_text('{"key": "oth')
    assert Documents(tmp_path).all("kind") == [{"n": 1}]
