"""Files of claims: the list, one of them live, its results, and how a new one comes in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from pipelines.desk import forms, words
from pipelines.desk.forms import Form, with_form
from pipelines.desk.pages import bare_page, desk, document, page
from pipelines.desk.security import forged
from pipelines.errors import NotThereError, UserError
from pipelines.predictions import Predictions, upload_name
from pipelines.retries import Retries
from pipelines.upload_state import Upload, UploadState
from pipelines.uploads import ResultFile, Uploads

RECENT = timedelta(days=90)
MOST = 50
_BLOCK = 1 << 20  # bytes that go to another thread at once
_REPORT = "report.html"
_MOST_OF_A_REPORT = 16 << 20  # bytes


def uploads(request: Request) -> Response:
    since = datetime.now(timezone.utc) - RECENT
    return page(request, "uploads.html", recent=Uploads(desk(request).aws).recent(since, MOST))


def upload(request: Request) -> Response:
    return _upload(request, "upload.html")


def live(request: Request) -> Response:
    """The part of an upload's page that changes by itself."""
    return _upload(request, "_upload.html")


def _upload(request: Request, template: str) -> Response:
    found, files = _found(request)
    files.sort(key=lambda one: words.rank(one.name))
    return page(request, template, found=found, files=files, report=_REPORT)


def download(request: Request) -> Response:
    """One of the results, as it comes from S3."""
    name = request.path_params["name"]
    answer = desk(request).aws.client("s3").get_object(**_place(_listed(request, name)))
    headers = {
        "Content-Length": str(answer["ContentLength"]),
        "Content-Disposition": attachment(name),
    }
    blocks = answer["Body"].iter_chunks(_BLOCK)
    return StreamingResponse(blocks, headers=headers, media_type="application/octet-stream")


def report(request: Request) -> Response:
    """The report on the predictions, which holds no text of a claim."""
    found = _listed(request, _REPORT)
    if found.size > _MOST_OF_A_REPORT:
        raise UserError("The report is too large to show: download it instead")
    answer = desk(request).aws.client("s3").get_object(**_place(found))
    return document(answer["Body"].read().decode("utf-8", "replace"))


async def put(request: Request) -> Response:
    """Takes a file as the whole body: the drop zone sends it so, and shows how far it is."""
    if not desk(request).secrets.is_form(request.headers.get(forms.HEADER, "")):
        return forged(bare_page)
    found = await _receive(request, request.query_params.get("name", ""), request.stream())
    return JSONResponse({"address": f"/uploads/{found.id}"}, 201)


async def post(request: Request) -> Response:
    """Takes a file from a form, where there is no script."""
    async with request.form(max_files=1, max_fields=forms.MOST_FIELDS) as form:
        if not desk(request).secrets.is_form(str(form.get(forms.FIELD, ""))):
            return forged(bare_page)
        file = form.get("file")
        if not isinstance(file, UploadFile) or not file.filename:
            raise UserError("No file was chosen: go back and choose a file of claims")
        found = await _receive(request, file.filename, _read(file))
    return RedirectResponse(f"/uploads/{found.id}", 303)


def retry(request: Request, _form: Form) -> Response:
    """Has a failed upload predicted once more."""
    aws = desk(request).aws
    found, _ = _found(request)
    if found.state != "failed":
        raise UserError(f"Only a file that failed can be tried again: this one is {found.words}")
    Retries(aws).retry(found)
    return RedirectResponse(f"/uploads/{found.upload.id}", 303)


def attachment(name: str) -> str:
    """The header that has a browser keep a file under this name (RFC 6266)."""
    plain = "".join(
        one if one.isascii() and (one.isalnum() or one in "._-") else "_" for one in name
    )
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def _receive(request: Request, name: str, blocks: AsyncIterator[bytes]) -> Upload:
    """Writes a file into the bucket while it arrives; what arrives in part leaves nothing."""
    incoming = Predictions(desk(request).aws).incoming(upload_name(name))
    waiting = bytearray()
    try:
        async for block in blocks:
            waiting += block
            if len(waiting) >= _BLOCK:
                await run_in_threadpool(incoming.write, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(incoming.write, bytes(waiting))
        return await run_in_threadpool(incoming.finish)
    except ClientDisconnect:
        await run_in_threadpool(incoming.abort)
        raise UserError("The file did not arrive as a whole: send it again") from None
    except asyncio.CancelledError:  # the desk ends: its loop waits for nothing any more
        incoming.abort()
        raise
    except BaseException:
        await run_in_threadpool(incoming.abort)
        raise


async def _read(file: UploadFile) -> AsyncIterator[bytes]:
    while block := await file.read(_BLOCK):
        yield block


def _found(request: Request) -> tuple[UploadState, list[ResultFile]]:
    known = Uploads(desk(request).aws)
    found = known.state(known.find(request.path_params["upload"]))
    return found, known.files(found)


def _listed(request: Request, name: str) -> ResultFile:
    """A file by its name, of those that are listed and no other."""
    _, files = _found(request)
    for one in files:
        if one.name == name:
            return one
    raise NotThereError("There is no such file among the results of this upload")


def _place(found: ResultFile) -> dict[str, str]:
    return {"Bucket": found.bucket, "Key": found.key}


ROUTES = [
    Route("/uploads", uploads),
    Route("/uploads", post, methods=["POST"]),
    Route("/uploads", put, methods=["PUT"]),
    Route("/uploads/{upload}", upload),
    Route("/uploads/{upload}/retry", with_form(retry), methods=["POST"]),
    Route("/uploads/{upload}/report", report),
    Route("/uploads/{upload}/files/{name}", download),
    Route("/live/uploads/{upload}", live),
]
