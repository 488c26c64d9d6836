from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.manifest import Manifest
from batch.report import MOST_LABELS, render
from batch.rows import Reject, Row
from batch.tally import Tally
from tests.batch.test_tally import Made

VOID = {"meta", "rect", "line", "br"}
HOSTILE = [
    "</title></style><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onload="alert(1)',
    "' onclick='alert(1)",
    "&lt;b&gt;",
    "]]><!--",
    "javascript:alert(1)",
    "\u202egnp.exe",
    "=cmd|' /C calc'!A0",
    "a\0b\x1b[31m",
    "\ud800",
]
MODEL = {
    "kind": "ngram",
    "labels": ["fire", "water"],
    "decision": {"review_threshold": 0.62},
    "training_data": {"rows": 25_000},
}


class Page(HTMLParser):
    """What a browser makes of the page: elements, attributes, the text of cells."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert not self._open, "every element is closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, "elements are nested"

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data

    def values(self, name: str) -> list[str]:
        return [value for _, found, value in self.attributes if found == name]


def manifest(tally: Tally, **changes: Any) -> Manifest:
    """A manifest of an upload that succeeded; what this version of it does not know is left out."""
    values: dict[str, Any] = {
        "outcome": "succeeded",
        "reason": "",
        "upload_id": "0f" * 16,
        "bucket": "uploads",
        "key": "incoming/new claims.csv",
        "version": "v1",
        "etag": "e",
        "model_package_arn": "arn:aws:sagemaker:eu-central-1:1:model-package/claims/3",
        "model_package_version": 3,
        "approval_status": "Approved",
        "artifact_sha256": "ab" * 32,
        "rows_in": tally.predicted + tally.rejected,
        "predicted": tally.predicted,
        "rejected": tally.rejected,
        "for_review": tally.for_review,
        "predictions": "results/new claims.csv/id/predictions.csv",
        "rejects": "results/new claims.csv/id/rejects.csv",
        "seconds": 1.25,
        "code_version": "abc",
        "job_id": "job",
        "labels": dict(tally.labels),
        "confidence": {"histogram": tally.confidence, "quantiles": tally.quantiles()},
        "reference": None,
        "report": "results/new claims.csv/id/report.html",
        "shards": 1,
        "bytes_in": 100,
    }
    known = {field.name for field in dataclasses.fields(Manifest)}
    return Manifest(**{name: value for name, value in (values | changes).items() if name in known})


def counted(labels: Mapping[str, int], confidence: float = 0.8, rejects: int = 0) -> Tally:
    made = Tally()
    line = 1
    for label, count in labels.items():
        rows = [Row(line + place, "secret words", "", ()) for place in range(1, count + 1)]
        made.add(rows, [Made(label, confidence, confidence < 0.62)] * count)
        line += count
    made.reject([Reject(line + place, "the text is blank", b"secret") for place in range(rejects)])
    return made


def shown(
    tally: Tally,
    quality: Mapping[str, float] | None = None,
    model: Mapping[str, Any] = MODEL,
    **changes: Any,
) -> Page:
    figures = {"accuracy": 0.925} if quality is None else quality
    return Page(render(manifest(tally, **changes), tally, figures, model))


def test_every_figure_stands_there_with_its_words() -> None:
    tally = counted({"water": 900, "fire": 100}, rejects=24)
    page = shown(tally)
    words = " ".join(page.text.replace("\N{NO-BREAK SPACE}", " ").split())
    for told in (
        "Predictions for new claims.csv",
        "1,000 of 1,024 rows got a category.",
        "24 rows were left out, with the reason.",
        "2 categories occur of the 2 that the model knows.",
        "the right category in 92.5 % of cases",
        "25,000 rows of labelled claims",
        "where the confidence is below 62.0 %",
    ):
        assert told in words
    assert [row[0] for row in page.tables[0][1:]] == ["water", "fire"]
    assert page.tables[0][1][2:] == ["900", "90.0\N{NO-BREAK SPACE}%"]
    assert ["the text is blank", "24"] in page.tables[3]
    assert ["Version", "3 (approved)"] in page.tables[4]


@pytest.mark.parametrize("label", HOSTILE)
def test_a_hostile_label_is_only_text(label: str) -> None:
    tame = shown(counted({"tame": 3}, rejects=1))
    page = shown(
        counted({label: 3}, rejects=1),
        model=MODEL | {"kind": label, "labels": [label]},
        key=f"incoming/{label}",
        upload_id=label,
        version=label,
        code_version=label,
        job_id=label,
        model_package_arn=label,
        artifact_sha256=label,
        predictions=f"results/{label}/predictions.csv",
    )
    assert [tag for tag in page.tags if tag != "bdi"] == [tag for tag in tame.tags if tag != "bdi"]
    kept = label.replace("\0", "\ufffd").replace("\x1b", "\ufffd").replace("\ud800", "\ufffd")
    assert page.tables[0][1][0] == kept
    page.source.encode()


@given(st.text(max_size=300), st.text(max_size=300))
def test_whatever_label_and_name_the_page_stays_well_formed(label: str, name: str) -> None:
    page = shown(counted({label: 2}), key=f"incoming/{name}")
    assert "script" not in page.tags
    assert len(page.tables) == 4
    page.source.encode()


def test_the_page_needs_nothing_beside_it_and_runs_nothing() -> None:
    page = shown(counted({"fire": 5, "water": 6}, rejects=1))
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not page.values("src")
    assert set(page.values("href")) == {"predictions.csv", "rejects.csv", "manifest.json"}
    assert "default-src 'none'; style-src 'unsafe-inline'" in page.values("content")
    assert "url(" not in page.source
    assert "@import" not in page.source
    assert len(page.source.encode()) < 16_000


def test_the_text_of_a_claim_is_not_shown() -> None:
    assert "secret" not in shown(counted({"fire": 5}, rejects=3)).source


def test_a_screen_reader_gets_headings_captions_scopes_and_the_chart_in_words() -> None:
    page = shown(counted({"fire": 5}, confidence=0.5, rejects=2))
    assert page.tags.count("h1") == 1
    assert page.tags.count("caption") == page.tags.count("table") == len(page.tables)
    headers = [value for tag, name, value in page.attributes if (tag, name) == ("th", "scope")]
    assert len(headers) == page.tags.count("th")
    charts = [tag for tag, name, value in page.attributes if (name, value) == ("role", "img")]
    assert charts == ["svg"]
    named = set(page.values("aria-labelledby")[0].split())
    assert named <= set(page.values("id"))
    assert "one row in twenty" in page.source.partition("<desc")[2].partition("</desc>")[0]
    assert page.values("lang") == ["en"]


def test_of_thousands_of_labels_the_most_frequent_are_shown_and_the_others_counted() -> None:
    labels = {f"label {number:04}": 1 + (number < 40) for number in range(3000)}
    page = shown(counted(labels))
    rows = page.tables[0][1:]
    assert len(rows) == MOST_LABELS + 1
    assert rows[-1][0] == "2,970 other categories"
    assert rows[-1][2] == f"{3040 - 2 * MOST_LABELS:,}"
    assert sum(int(row[2].replace(",", "")) for row in rows) == 3040
    assert len(page.source) < 25_000
    widths = [float(one) for one in re.findall(r'<rect width="([\d.]+)%" height="8"', page.source)]
    assert max(widths) <= 100, "the others together do not leave the chart"


def test_long_names_are_cut_and_the_address_is_kept_whole() -> None:
    key = "incoming/" + "x" * 1000 + ".csv"
    page = shown(counted({"y" * 5000: 2}), key=key)
    assert f"s3://uploads/{key}" in page.text
    assert len(page.source) < 20_000
    assert "overflow-wrap:anywhere" in page.source


@pytest.mark.parametrize("rejects", [0, 7])
def test_without_a_predicted_row_the_page_says_so(rejects: int) -> None:
    page = shown(counted({}, rejects=rejects))
    said = "None of 7 rows could be predicted." if rejects else "The file has no rows."
    assert said in page.text
    assert "svg" not in page.tags
    assert "nan" not in page.text.lower().split()


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(1, 5000, "< 0.1 %"), (4999, 5000, "> 99.9 %"), (5000, 5000, "100.0 %"), (1, 3, "33.3 %")],
)
def test_a_share_is_not_rounded_to_all_or_nothing(part: int, whole: int, said: str) -> None:
    page = shown(counted({"a": part, "b": whole - part} if part < whole else {"a": part}))
    shares = {row[0]: row[3].replace("\N{NO-BREAK SPACE}", " ") for row in page.tables[0][1:]}
    assert shares["a"] == said


@pytest.mark.parametrize("status", ["Rejected", "PendingManualApproval"])
def test_a_model_that_is_not_approved_any_more_is_pointed_out(status: str) -> None:
    assert "Ask the model's owners" in shown(counted({"a": 2}), approval_status=status).text
    assert "Ask the model's owners" not in shown(counted({"a": 2})).text


@pytest.mark.parametrize(
    ("threshold", "marked", "said"),
    [
        (1.01, True, "at every row"),
        (0.0, False, "where the confidence is below 0.0 %"),
        (None, False, "a person should look at all"),
    ],
)
def test_the_threshold_is_drawn_where_there_is_one(
    threshold: float | None, marked: bool, said: str
) -> None:
    model = MODEL | {"decision": {"review_threshold": threshold} if threshold is not None else {}}
    page = shown(counted({"a": 4}, confidence=0.5), model=model)
    assert ('fill="var(--look)"' in page.source) is marked
    assert said in page.text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    "quality", [{}, {"accuracy": float("nan")}, {"accuracy": "high"}, {"auc": 0.5}], ids=str
)
@pytest.mark.parametrize("model", [{}, {"decision": [], "labels": 3, "training_data": None}])
def test_what_is_not_known_of_the_model_is_left_out(quality: Any, model: Mapping[str, Any]) -> None:
    page = shown(counted({"a": 2}), quality=quality, model=model)
    assert "No test figures are stored" in page.text
    assert "nan" not in page.text.lower()


def test_a_file_predicted_without_a_cloud_has_no_address_and_no_version() -> None:
    page = shown(
        counted({"a": 2}),
        bucket="",
        key="claims.csv",
        version="",
        etag="",
        model_package_arn="",
        model_package_version=0,
        approval_status="unknown",
        upload_id="",
        job_id="",
    )
    assert "s3://" not in page.text
    assert "Version" not in [row[0] for row in page.tables[-1]]
    assert "Job" not in page.text


def test_the_same_tally_makes_the_same_page() -> None:
    tally = counted({"b": 2, "a": 2}, rejects=1)
    again = Tally.from_json(tally.to_json())
    again.labels = dict(reversed(again.labels.items()))
    assert shown(tally).source == shown(again).source
