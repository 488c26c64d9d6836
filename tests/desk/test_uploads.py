"""Files of claims: how they come in, what is shown of them, and how results go out."""

from __future__ import annotations

import asyncio
import gzip
import logging
import lzma
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas import layout
from pipelines.desk.app import create_app
from pipelines.desk.uploads import attachment
from pipelines.errors import UserError
from pipelines.object_writer import PART
from pipelines.predictions import LONGEST_NAME, upload_name
from pipelines.upload_state import upload_id
from tests.desk.visitor import ORIGIN, TOKEN, Visitor, sentence
from tests.pipelines.deployment import SETTINGS, Deployment

CLAIMS = b"text\nsmoke from the dryer\n"


def stored(deployment: Deployment, name: str) -> bytes:
    key = f"incoming/{name}"
    found = deployment.s3.get_object(Bucket=SETTINGS.bucket("predictions"), Key=key)
    body: bytes = found["Body"].read()
    return body


def settled(deployment: Deployment, **files: bytes) -> str:
    """An upload with results; the name of a file is its argument's, `_` for a dot."""
    upload = deployment.upload()
    prefix = deployment.record(upload, deployment.submit("SUCCEEDED"))
    deployment.settle(upload, prefix)
    for name, body in files.items():
        deployment.put("results", prefix + name.replace("_", "."), body)
    return upload


def test_a_file_is_taken_as_the_drop_zone_sends_it(deployment: Deployment) -> None:
    visitor = Visitor(deployment.aws)
    answer = visitor.put("claims.csv", CLAIMS)
    assert answer.status_code == 201
    assert stored(deployment, "claims.csv") == CLAIMS
    page = visitor.read(answer.json()["address"])
    assert "claims.csv" in page
    assert "arrived, not begun yet" in page
    assert "data-live=" in page


def test_a_file_is_taken_from_a_form_without_script(deployment: Deployment) -> None:
    visitor = Visitor(deployment.aws)
    answer = visitor.client.post(
        "/uploads",
        data={"csrf": visitor.secret},
        files={"file": ("claims.csv", CLAIMS)},
        headers={"Origin": ORIGIN},
    )
    assert answer.status_code == 303
    assert stored(deployment, "claims.csv") == CLAIMS
    assert "claims.csv" in visitor.read(answer.headers["location"])


def test_a_form_without_a_file_says_so(deployment: Deployment) -> None:
    visitor = Visitor(deployment.aws)
    answer = visitor.client.post(
        "/uploads",
        data={"csrf": visitor.secret},
        files={"file": ("", b"")},
        headers={"Origin": ORIGIN},
    )
    assert answer.status_code == 400
    assert "No file was chosen" in sentence(answer)


def test_the_address_of_an_upload_is_that_of_its_version(deployment: Deployment) -> None:
    visitor = Visitor(deployment.aws)
    addresses = [visitor.put("claims.csv", CLAIMS).json()["address"] for _ in range(2)]
    bucket, key = SETTINGS.bucket("predictions"), "incoming/claims.csv"
    versions = deployment.s3.list_object_versions(Bucket=bucket, Prefix=key)["Versions"]
    assert set(addresses) == {
        f"/uploads/{upload_id(bucket, key, one['VersionId'])}" for one in versions
    }


@pytest.mark.parametrize("pieces", [1, 7, 10**6])
def test_xz_is_unpacked_on_the_way_and_gzip_is_left(deployment: Deployment, pieces: int) -> None:
    visitor = Visitor(deployment.aws)
    packed = lzma.compress(CLAIMS) + lzma.compress(CLAIMS)  # two streams are one file

    def arriving() -> Iterator[bytes]:
        for start in range(0, len(packed), pieces):
            yield packed[start : start + pieces]

    assert visitor.put("claims.csv.xz", arriving()).status_code == 201
    assert stored(deployment, "claims.csv") == 2 * CLAIMS
    visitor.put("claims.csv.gz", gzip.compress(CLAIMS))
    assert gzip.decompress(stored(deployment, "claims.csv.gz")) == CLAIMS


@pytest.mark.parametrize("damage", ["cut short", "flipped"])
def test_of_a_damaged_file_nothing_is_kept(deployment: Deployment, damage: str) -> None:
    packed = bytearray(lzma.compress(CLAIMS * 1000))
    if damage == "cut short":
        del packed[-20:]
    else:
        packed[40] ^= 255
    answer = Visitor(deployment.aws).put("claims.csv.xz", bytes(packed))
    assert answer.status_code == 400
    assert answer.json() == {"error": "claims.csv.xz: the xz file is damaged or cut short"}
    assert "Contents" not in deployment.s3.list_objects_v2(Bucket=SETTINGS.bucket("predictions"))


def test_a_small_file_that_unpacks_to_much_is_taken_piece_by_piece(deployment: Deployment) -> None:
    packed = lzma.compress(bytes(3 * PART))
    assert len(packed) < 10_000
    assert Visitor(deployment.aws).put("zeros.csv.xz", packed).status_code == 201
    assert stored(deployment, "zeros.csv") == bytes(3 * PART)


@pytest.mark.parametrize("path", ["/try", "/uploads", "/uploads?name=claims.csv"])
def test_who_leaves_in_the_middle_of_a_request_is_no_mistake_of_the_desk(
    deployment: Deployment, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(deployment.aws, TOKEN, None)
    secrets = app.state.desk.secrets
    path, _, query = path.partition("?")
    headers = {
        "host": ORIGIN.removeprefix("http://"),
        "origin": ORIGIN,
        "cookie": f"{secrets.cookie}={secrets.session}",
        "content-type": "multipart/form-data; boundary=x",
        "x-csrf-token": secrets.form,
    }
    scope = {
        "type": "http",
        "method": "PUT" if query else "POST",
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    sent: list[Any] = []

    async def leave() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    with caplog.at_level(logging.INFO, "claimflow.desk"):
        asyncio.run(app(scope, leave, send))
    assert sent[0]["status"] == 400
    assert [one.levelname for one in caplog.records if one.name == "claimflow.desk"] == ["INFO"]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("claims.csv", "claims.csv"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\claims.csv", "claims.csv"),
        ("a\r\nSet-Cookie: x=1.csv", "aSet-Cookie: x=1.csv"),
        ("mit Leerzeichen äöü 客户.csv", "mit Leerzeichen äöü 客户.csv"),
        ("\u202ecsv.exe", "csv.exe"),
        ("x" * 300 + ".csv.gz", "x" * 193 + ".csv.gz"),
    ],
)
def test_names_are_cleaned(deployment: Deployment, name: str, kept: str) -> None:
    assert Visitor(deployment.aws).put(name, CLAIMS).status_code == 201
    assert stored(deployment, kept) == CLAIMS


@pytest.mark.parametrize("name", ["", "/", "..", "...", "a/", "\r\n", " "])
def test_a_file_without_a_name_is_refused(deployment: Deployment, name: str) -> None:
    answer = Visitor(deployment.aws).put(name, CLAIMS)
    assert answer.status_code == 400
    assert "has no name" in answer.json()["error"]


@given(st.text())
def test_whatever_its_name_a_file_stays_in_its_folder(name: str) -> None:
    try:
        kept = upload_name(name)
    except UserError:
        return
    assert 0 < len(kept) <= LONGEST_NAME
    assert not set("/\\\r\n\0") & set(kept)
    assert upload_name(kept) == kept
    header = attachment(kept)
    assert header.isascii() and header.isprintable()
    assert header.count('"') == 2


def test_html_in_a_name_is_shown_and_not_run(deployment: Deployment) -> None:
    name = '<img src=x onerror="alert(1)">.csv'
    visitor = Visitor(deployment.aws)
    address = visitor.put(name, CLAIMS).json()["address"]
    for path in ("/", "/uploads", address):
        page = visitor.read(path)
        assert "<img" not in page
        assert "&lt;img" in page


def test_a_finished_file_shows_its_figures_and_results(deployment: Deployment) -> None:
    upload = settled(deployment, predictions_csv=b"text,label\n", report_html=b"<p>told</p>")
    page = Visitor(deployment.aws).read(f"/uploads/{upload}")
    for told in ("ready", "12", "for review", "fire", "water", "predictions.csv", "look at it"):
        assert told in page
    assert "data-live=" not in page, "it has come to its end"
    names = re.findall(r'/files/([^"]+)"', page)
    assert names == ["predictions.csv", "report.html", "manifest.json"]


def test_a_result_is_downloaded_whole_under_its_name(deployment: Deployment) -> None:
    body = b"text,label\n" + bytes(range(256)) * 10_000
    upload = settled(deployment, predictions_csv=body)
    answer = Visitor(deployment.aws).get(f"/uploads/{upload}/files/predictions.csv")
    assert answer.content == body
    assert answer.headers["content-length"] == str(len(body))
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith(
        'attachment; filename="predictions.csv"'
    )


@pytest.mark.parametrize(
    "name",
    [
        "nothing.csv",
        "",
        "..%2Fmanifest.json",
        "%2e%2e%2f%2e%2e%2fsubmissions",
        "retry-2/manifest.json",
        "retry-2%2Fmanifest.json",
        "s3:%2F%2Fbucket%2Fkey",
        "manifest.json%00",
        "%0d%0aSet-Cookie:%20x",
    ],
)
def test_nothing_is_downloaded_but_what_is_listed(deployment: Deployment, name: str) -> None:
    upload = settled(deployment, predictions_csv=b"a")
    deployment.put(
        "results",
        layout.results_prefix("incoming/claims.csv", upload) + "retry-2/manifest.json",
        b"x",
    )
    answer = Visitor(deployment.aws).get(f"/uploads/{upload}/files/{name}")
    assert answer.status_code == 404
    assert "x" not in answer.headers.get("set-cookie", "")


def test_a_key_with_a_hostile_name_does_not_reach_a_header(deployment: Deployment) -> None:
    upload = settled(deployment)
    name = 'a"b;\u20ac.csv'
    prefix = layout.results_prefix("incoming/claims.csv", upload)
    deployment.put("results", prefix + name, b"body")
    answer = Visitor(deployment.aws).get(f"/uploads/{upload}/files/{quote(name)}")
    assert answer.content == b"body"
    told = answer.headers["content-disposition"]
    assert told == "attachment; filename=\"a_b__.csv\"; filename*=UTF-8''a%22b%3B%E2%82%AC.csv"


def test_the_report_of_a_file_is_shown_without_scripts(deployment: Deployment) -> None:
    upload = settled(deployment, report_html=b"<script>alert(1)</script>")
    answer = Visitor(deployment.aws).get(f"/uploads/{upload}/report")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "script-src" not in answer.headers["content-security-policy"]


def test_a_failed_file_says_why_and_can_be_tried_again(deployment: Deployment) -> None:
    upload = deployment.upload()
    prefix = deployment.record(upload, deployment.submit("SUCCEEDED"))
    deployment.settle(upload, prefix, reason="claims.csv: the file is <empty>")
    visitor = Visitor(deployment.aws)
    assert "the file is &lt;empty&gt;" in visitor.read(f"/uploads/{upload}")
    assert "the file is &lt;empty&gt;" in visitor.read("/")
    assert visitor.post(f"/uploads/{upload}/retry").status_code == 303
    (sent,) = deployment.messages(SETTINGS.upload_queue)
    assert sent["Document"]["detail"] == {"upload_id": upload, "attempt": 1}


def test_only_what_failed_can_be_tried_again(deployment: Deployment) -> None:
    upload = settled(deployment)
    answer = Visitor(deployment.aws).post(f"/uploads/{upload}/retry")
    assert answer.status_code == 400
    assert "Only a file that failed" in sentence(answer)
    assert deployment.messages(SETTINGS.upload_queue) == []


def test_a_file_that_waits_says_for_what(deployment: Deployment) -> None:
    upload = deployment.upload()
    marker = {"bucket": SETTINGS.bucket("predictions"), "key": "incoming/claims.csv"}
    deployment.put("results", layout.waiting_key(upload), {**marker, "version": "", "etag": "e"})
    assert "as soon as a model is approved" in Visitor(deployment.aws).read(f"/uploads/{upload}")


def test_an_unknown_upload_is_said_to_be_unknown(deployment: Deployment) -> None:
    answer = Visitor(deployment.aws).get(f"/uploads/{'0' * 32}")
    assert answer.status_code == 404
    assert "There is no upload" in sentence(answer)
