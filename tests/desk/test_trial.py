"""One claim: what is shown of it, and that nothing is kept."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.desk.marked_text import marked
from pipelines.errors import UserError
from pipelines.registry.models import ModelVersion
from tests.desk.visitor import Visitor, sentence
from tests.pipelines.deployment import Deployment


@dataclass(frozen=True)
class Word:
    text: str
    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class Found:
    label: str = "<i>fire</i>"
    confidence: float = 0.812
    needs_review: bool = True
    probabilities: dict[str, float] = field(
        default_factory=lambda: {"<i>fire</i>": 0.812, "water": 0.188}
    )
    is_exact: bool = True
    words: tuple[Word, ...] = (Word("smoke", 0, 5, 2.0), Word("leak", 6, 10, -0.5))
    phrases: tuple[Word, ...] = (Word("smoke leak", 0, 10, 0.7),)


def explain(_model: ModelVersion, _text: str) -> Found:
    return Found()


def test_label_confidence_and_words_are_shown(deployment: Deployment) -> None:
    deployment.register()
    answer = Visitor(deployment.aws, explain).post("/try", text="smoke leak <b>")
    assert answer.status_code == 200
    for told in ("&lt;i&gt;fire&lt;/i&gt;", "81.2", "A person should look at it", "smoke leak"):
        assert told in answer.text
    assert '<mark class="for strength-3">smoke</mark>' in answer.text
    assert '<mark class="against strength-1">leak</mark>' in answer.text
    assert "<b>" not in answer.text and "<i>" not in answer.text


def test_that_the_first_answer_takes_long_is_told_before(deployment: Deployment) -> None:
    deployment.register()
    visitor = Visitor(deployment.aws, explain)
    assert "the first answer can take some minutes" in visitor.read("/try")
    assert "first answer" not in visitor.post("/try", text="smoke").text


def test_the_model_that_predicts_explains(deployment: Deployment) -> None:
    arns = [deployment.register(one) for one in ("Approved", "Approved", "Rejected")]
    asked = []

    def remember(model: ModelVersion, text: str) -> Found:
        asked.append((model.arn, text))
        return Found()

    Visitor(deployment.aws, remember).post("/try", text="one\r\ntwo")
    assert asked == [(arns[1], "one\ntwo")], "spans count a line's end as one character"


def test_without_a_model_nothing_is_explained(deployment: Deployment) -> None:
    visitor = Visitor(deployment.aws, explain)
    assert "approve one first" in visitor.read("/try")
    assert visitor.post("/try", text="smoke").status_code == 400


def test_where_it_cannot_be_explained_the_page_says_why(deployment: Deployment) -> None:
    def fail(_model: ModelVersion, _text: str) -> Found:
        raise UserError("The environment of image gluon-cpu cannot be made: no connection")

    deployment.register()
    answer = Visitor(deployment.aws, fail).post("/try", text="smoke &amp; fire")
    assert answer.status_code == 503
    assert "no connection" in sentence(answer)
    assert "smoke &amp;amp; fire</textarea>" in answer.text, "what was typed is not lost"


@pytest.mark.parametrize(
    ("text", "said"), [("", "first"), ("  ", "first"), ("x" * 20_001, "20,001 characters")]
)
def test_no_text_and_too_much_text_are_refused(
    deployment: Deployment, text: str, said: str
) -> None:
    deployment.register()
    answer = Visitor(deployment.aws, explain).post("/try", text=text)
    assert answer.status_code == 400
    assert said in sentence(answer)


def test_a_form_beyond_all_measure_is_not_read(deployment: Deployment) -> None:
    answer = Visitor(deployment.aws, explain).post("/try", text="x" * 300_000)
    assert answer.status_code == 400
    assert "more than 256 KB" in sentence(answer)


def test_a_text_is_never_part_of_an_address(deployment: Deployment) -> None:
    deployment.register()
    asked: list[str] = []

    def remember(_model: ModelVersion, text: str) -> Found:
        asked.append(text)
        return Found()

    Visitor(deployment.aws, remember).read("/try?text=smoke")
    assert asked == []


@given(st.text(max_size=60), st.data())
def test_the_marked_parts_are_the_text_whatever_the_spans(text: str, data: st.DataObject) -> None:
    number = st.integers(-3, len(text) + 3)
    weight = st.floats(-5, 5)
    words = [
        Word("", data.draw(number), data.draw(number), data.draw(weight))
        for _ in range(data.draw(st.integers(0, 6)))
    ]
    parts = marked(text, words)  # type: ignore[arg-type]
    assert "".join(one.text for one in parts) == text
    for one in parts:
        assert (one.strength > 0) == bool(one.side)
        assert one.strength <= 3
