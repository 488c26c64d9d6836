from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from steps.classifier import Classifier
from steps.decision import Calibration
from steps.explanation import MOST_LEFT_OUT, explain, spans
from steps.tokens import by_chunks
from tests.steps.small_models import COMMON, SMALL, WORDS, claims, trained

TELLING = " ".join(WORDS.values()).split()
TEXTS = st.lists(st.sampled_from([*TELLING, *COMMON.split(), ",", "!"]), max_size=60).map(" ".join)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """Four labels, a column of weights for each."""
    return Classifier.load(trained(tmp_path_factory.mktemp("job"), claims(400)))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """Two labels, one column, and so few buckets that n-grams of one text fall together."""
    table = claims(400, labels=("leak", "noise"))
    return Classifier.load(trained(tmp_path_factory.mktemp("job"), table, bits="10"))


@pytest.fixture(scope="module", params=[kind for kind in SMALL if kind != "ngram"])
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    job = tmp_path_factory.mktemp("job")
    return Classifier.load(trained(job, claims(400), **SMALL[request.param]))


def log_odds(model: Classifier, text: str) -> float:
    """The logit of the label, computed back from the probabilities without their noise."""
    noise = model._calibration.noise
    made = model.probabilities([text])[0].astype(np.float64)
    logs = np.log((made - noise / len(made)) / (1 - noise))
    chosen = int(made.argmax())
    return float(logs[chosen] - np.delete(logs, chosen).mean())


@settings(deadline=None, max_examples=60)
@given(st.one_of(TEXTS, st.text(max_size=80)))
@example("")
@example("drips " * 300)
@example("Ωραίος Σ ﬁne ½ … e\u0301 水漏れ \ud800 \x1f\x00")
def test_the_words_of_an_ngram_model_and_the_rest_sum_to_the_logit(
    many: Classifier, two: Classifier, text: str
) -> None:
    for model in (many, two):
        made = explain(model, text)
        summed = made.rest + math.fsum(word.weight for word in made.words)
        assert made.is_exact
        assert summed == pytest.approx(made.logit, rel=1e-5, abs=1e-3)


def test_what_belongs_to_no_word_of_an_ngram_model_is_the_same_for_any_text(
    many: Classifier,
) -> None:
    texts = [text for text in claims(60, seed=3).texts if explain(many, text).label == "noise"]
    assert len({explain(many, text).rest for text in texts}) == 1


def test_what_is_explained_is_the_log_odds_of_the_label(
    two: Classifier, many: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in (two, many):
        # These models are so sure that nothing could be computed back from their probabilities.
        monkeypatch.setattr(model, "_calibration", Calibration(temperature=2.0, noise=0.1))
        for text in claims(20, seed=7).texts:
            assert explain(model, text).logit == pytest.approx(log_odds(model, text), rel=1e-3)


def test_an_explanation_says_what_a_prediction_says(many: Classifier, other: Classifier) -> None:
    for model in (many, other):
        for text in ("water drips", "", "a machine of loud fuse and paint"):
            (prediction,) = model.predict([text])
            made = explain(model, text)
            said = (made.label, made.confidence, made.needs_review)
            assert said == (prediction.label, prediction.confidence, prediction.review)
            assert list(made.probabilities) == model.labels
            assert made.probabilities[made.label] == made.confidence


def test_telling_words_speak_for_their_label_and_words_of_another_against_it(
    many: Classifier, other: Classifier
) -> None:
    text = "the unit drips water puddle and gasket"
    for model in (many, other):
        made = explain(model, text)
        assert made.label == "leak"
        strongest = max(made.words, key=lambda word: word.weight)
        assert text[strongest.start : strongest.end] in WORDS["leak"].split()
    made = explain(many, f"{text} fuse")
    assert made.words[-1].weight < 0


@pytest.mark.parametrize("row", range(0, 200, 20))
def test_without_its_strongest_word_the_label_of_an_ngram_model_is_less_likely(
    many: Classifier, row: int
) -> None:
    text = claims(200, seed=5).texts[row]
    made = explain(many, text)
    strongest = max(made.words, key=lambda word: word.weight)
    word = text[strongest.start : strongest.end]
    left = explain(many, " ".join(one for one in text.split() if one != word))
    assert left.label != made.label or left.logit < made.logit


def test_a_word_that_is_repeated_counts_once_and_each_place_has_its_share(
    many: Classifier,
) -> None:
    once = explain(many, "drips")
    (first, second) = explain(many, "drips drips").words
    assert first.weight == second.weight
    pair = [phrase.weight for phrase in explain(many, "drips drips").phrases]
    assert first.weight + second.weight == pytest.approx(once.words[0].weight + sum(pair))


def test_phrases_come_strongest_first_as_the_text_has_them(many: Classifier) -> None:
    made = explain(many, "Water drips, loud FUSE after 水漏れ濡れ")
    weights = [abs(phrase.weight) for phrase in made.phrases]
    assert weights == sorted(weights, reverse=True)
    texts = {phrase.text for phrase in made.phrases}
    assert {"Water drips", "loud FUSE", "drips,"} <= texts
    assert any(" … " in one for one in texts)
    assert len(texts) == len(made.phrases)


def test_a_weight_of_another_kind_is_what_the_logit_loses_without_the_word(
    other: Classifier,
) -> None:
    text = "two weeks-old machine drips; water under it"
    made = explain(other, text)
    assert not made.is_exact
    assert not made.phrases
    assert [text[word.start : word.end] for word in made.words] == [
        *("two", "weeks", "-", "old", "machine", "drips", ";", "water", "under", "it")
    ]
    toward = np.full(len(other.labels), -1 / (len(other.labels) - 1))
    toward[other.labels.index(made.label)] = 1
    for word in made.words:
        left = f"{text[: word.start]} {text[word.end :]}"
        logit = float(other.logits(other.inputs.rows([left]))[0] @ toward)
        assert word.weight == pytest.approx(made.logit - logit, rel=1e-4, abs=1e-2)
    assert made.logit == pytest.approx(made.rest + sum(word.weight for word in made.words))


def test_of_a_long_text_neighbours_are_left_out_together(other: Classifier) -> None:
    text = "water drips under the pump " * 200
    made = explain(other, text)
    assert MOST_LEFT_OUT / 2 < len(made.words) <= MOST_LEFT_OUT
    assert (made.words[0].start, made.words[-1].end) == (0, len(text.rstrip()))
    assert all(
        text[one.end : two.start] == " "
        for one, two in zip(made.words, made.words[1:], strict=False)
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \t\n", []),
        ("Don't STOP, ever.", ["Don't", "STOP", ",", "ever", "."]),
        ("naïve cafe\u0301 — fin", ["naïve", "cafe\u0301", "—", "fin"]),
        ("ﬁne ½ …", ["ﬁne", "½", "…"]),
        ("ＷＡＴＥＲ　drips", ["ＷＡＴＥＲ", "drips"]),
        ("水漏れ。drips", ["水", "漏", "れ", "。", "drips"]),
        ("ｶﾞｽ", ["ｶﾞ", "ｽ"]),
        ("co\u00adop 👍🏽 ❤\ufe0f", ["co\u00adop", "👍", "❤\ufe0f"]),
        ("ὈΔΥΣΣΕΎΣ İstanbul", ["ὈΔΥΣΣΕΎΣ", "İstanbul"]),
        ("\u1112\u1161\u11ab글 x", ["\u1112\u1161\u11ab글", "x"]),
        ("वर्षा নদী", ["वर्षा", "নদী"]),
        ("a\ud800b \x00 c", ["a", "b", "c"]),
        ("\U0001d54f" * 600 + " z", ["\U0001d54f" * 600, "z"]),
    ],
)
def test_spans_cut_exactly_the_words(many: Classifier, text: str, words: list[str]) -> None:
    made = explain(many, text).words
    assert [text[word.start : word.end] for word in made] == words


@settings(deadline=None)
@given(st.text(max_size=120))
def test_what_a_span_cuts_holds_its_token(text: str) -> None:
    (words,) = by_chunks([text], lambda made: made)
    for token, (start, end) in enumerate(spans(text, words).tolist()):
        (alone,) = by_chunks([text[start:end].replace("Σ", "ς")], lambda made: made)
        (as_is,) = by_chunks([text[start:end]], lambda made: made)
        assert words.hashes[token] in [*alone.hashes, *as_is.hashes]


def test_a_very_long_text_is_explained(many: Classifier) -> None:
    text = "water drips under the pump, é " * 10_000
    made = explain(many, text)
    assert len(made.words) == 7 * 10_000
    assert len(made.phrases) < 50
    summed = made.rest + math.fsum(word.weight for word in made.words)
    assert summed == pytest.approx(made.logit, rel=1e-5)
