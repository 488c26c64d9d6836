from __future__ import annotations

import csv
import time
from collections import Counter
from pathlib import Path

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]
from sklearn.svm import LinearSVC  # type: ignore[import-untyped]

from pipelines.data.sample import SamplePaths, write_sample
from pipelines.data.sample_grammar import CATEGORIES


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SamplePaths:
    return write_sample(tmp_path_factory.mktemp("sample"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    sample: SamplePaths, tmp_path: Path
) -> None:
    again, other = write_sample(tmp_path / "7"), write_sample(tmp_path / "8", seed=8)
    for name in ("train", "test", "new_claims"):
        content = getattr(sample, name).read_bytes()
        assert content == getattr(again, name).read_bytes()
        assert content != getattr(other, name).read_bytes()


def test_it_has_the_promised_size_and_columns(sample: SamplePaths) -> None:
    for path, count in ((sample.train, 6_000), (sample.test, 2_000)):
        found = rows(path)
        assert len(found) == count
        assert list(found[0]) == ["claim_id", "text", "label"]
    everything = rows(sample.train) + rows(sample.test)
    assert len({row["claim_id"] for row in everything}) == 8_000


def test_the_classes_are_many_and_imbalanced(sample: SamplePaths) -> None:
    labels = Counter(row["label"] for row in rows(sample.train))
    assert set(labels) == {category.label for category in CATEGORIES}
    assert len(labels) >= 8
    assert max(labels.values()) > 5 * min(labels.values())
    assert sum(category.share for category in CATEGORIES) == pytest.approx(1)


def test_it_is_no_task_for_a_guess_and_a_good_one_for_a_linear_model(sample: SamplePaths) -> None:
    training, test = rows(sample.train), rows(sample.test)
    most = Counter(row["label"] for row in test).most_common(1)[0][1]
    assert most / len(test) < 0.35
    tfidf = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    features = tfidf.fit_transform([row["text"] for row in training])
    model = LinearSVC().fit(features, [row["label"] for row in training])
    accuracy = model.score(
        tfidf.transform([row["text"] for row in test]), [row["label"] for row in test]
    )
    assert 0.88 < accuracy < 0.95


def test_few_texts_come_twice(sample: SamplePaths) -> None:
    training = [row["text"] for row in rows(sample.train)]
    test = [row["text"] for row in rows(sample.test)]
    assert len(set(training)) > 0.99 * len(training)
    assert len(set(training) & set(test)) < 0.01 * len(test)


def test_the_texts_are_filled_in_and_written_in_many_hands(sample: SamplePaths) -> None:
    texts = [row["text"] for row in rows(sample.train)]
    assert not any("{" in text or "}" in text for text in texts)
    assert sum(text.isupper() for text in texts) > 300
    assert sum(text.islower() for text in texts) > 1_000
    assert sum(" cust " in text.lower() for text in texts) > 100


def test_the_new_claims_have_bad_rows_among_the_good(sample: SamplePaths) -> None:
    content = sample.new_claims.read_bytes()
    with pytest.raises(UnicodeDecodeError):
        content.decode("utf-8")
    lines = content.decode("latin-1").splitlines(keepends=True)
    found = list(csv.reader(lines))
    assert found[0] == ["claim_id", "received", "text"]
    assert len(found) == 201
    assert Counter(map(len, found[1:])) == {3: 198, 5: 1, 1: 1}
    assert sum(len(row) == 3 and not row[2].strip() for row in found) == 2


def test_it_is_written_in_a_moment(tmp_path: Path) -> None:
    start = time.process_time()
    write_sample(tmp_path)
    assert time.process_time() - start < 1.5
