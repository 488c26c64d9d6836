"""What the labels of an image say of where it comes from."""

from __future__ import annotations

import pytest

from pipelines.deployment import image_origin
from pipelines.deployment.image_origin import _public, origin
from pipelines.images import image


def test_labels_say_where_an_image_comes_from_and_change_no_tag(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = {
        "rev-parse": "0" * 40,
        "status": "",
        "remote": "https://me:secret@example.com/claimflow.git",
    }
    monkeypatch.setattr(image_origin, "_git", lambda word, *_: answers[word])
    described = image("validate")
    before = described.tag
    found = origin(described)
    assert found["REVISION"] == "0" * 40
    assert found["SOURCE"] == "https://example.com/claimflow.git"
    answers |= {
        "status": " M steps/train.py",
        "remote": "/home/me/claimflow",
        "rev-parse": "1" * 40,
    }
    changed = origin(described)
    assert (changed["REVISION"], changed["SOURCE"]) == ("1" * 40 + "-dirty", "")
    assert described.tag == before


@pytest.mark.parametrize(
    ("source", "label"),
    [
        (
            "https://me:secret@Example.com:8443/a/b.git?token=secret",
            "https://example.com:8443/a/b.git",
        ),
        ("ssh://git@example.com/a/b.git", "ssh://example.com/a/b.git"),
        ("git+ssh://me:secret@example.com/a.git", ""),
        ("https://me:se/cret@example.com/a.git", ""),
        ("https://me:12/secret@example.com/a.git", ""),
        ("https://[me:secret@example.com/a.git", ""),
        ("file:///home/me/a.git", ""),
        ("git@example.com:a/b.git", ""),
        ("", ""),
    ],
)
def test_the_label_of_the_source_holds_no_secret_and_no_path(source: str, label: str) -> None:
    assert _public(source) == label
