"""What a request to S3 needs allowed: its operations are told by method, address and headers.

The permissions of each operation stand in the Amazon S3 API reference, and in "Required permissions
for Amazon S3 API operations" of the user guide.
"""

from __future__ import annotations

import html
import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping

from pipelines.local.aws_json import ServiceError
from pipelines.local.iam import Call

Query = Mapping[str, list[str]]

# Parts of a bucket, by the parameter that asks for them.
_OF_BUCKET = {
    "acl": "BucketAcl",
    "cors": "BucketCORS",
    "encryption": "EncryptionConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "location": "BucketLocation",
    "logging": "BucketLogging",
    "notification": "BucketNotification",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
}
# Parts of an object; those of a version have names of their own.
_OF_OBJECT = {
    "acl": "Acl",
    "legal-hold": "LegalHold",
    "retention": "Retention",
    "tagging": "Tagging",
}
_VERB = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "DELETE": "Delete"}
# Headers of a write that are condition keys, too.
_KEYS = (
    "x-amz-acl",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-storage-class",
    "if-match",
    "if-none-match",
)


# What a request may ask for besides, without being another operation.
_LISTING = {
    *("list-type", "prefix", "delimiter", "max-keys", "marker", "encoding-type", "start-after"),
    *("continuation-token", "fetch-owner", "versions", "uploads", "key-marker", "max-uploads"),
    *("version-id-marker", "upload-id-marker"),
}
_READING = {"versionId", "partNumber", "attributes"}
_WRITING = {"partNumber", "uploadId", "uploads"}
_SIGNED = ("x-amz-", "x-id", "response-")


def object_calls(
    method: str,
    path: str,
    query: Query,
    headers: Mapping[str, str],
    read_body: Callable[[], bytes],
) -> list[Call]:
    """What a request needs allowed, all of it. `path` is decoded; names of headers in lower case.

    Raises
    ------
    ServiceError
        It cannot be named.
    """
    bucket, _, key = path.lstrip("/").partition("/")
    if not bucket:
        found = [Call("s3:ListAllMyBuckets", "*")] if method == "GET" else []
    elif key:
        found = list(_object(method, bucket, key, query, headers))
    else:
        found = list(_bucket(method, bucket, query, read_body))
    if not found:
        asked = "&".join(query)
        message = f"The local cloud cannot name the request {method} /{bucket}?{asked} for a role"
        raise ServiceError("AccessDenied", message, 403)
    return found


def existence_call(path: str) -> Call:
    """What it takes to be told that an object does not exist (404), and not only refused (403).

    The request names no prefix, so that a right to list below a certain prefix does not count.
    """
    bucket = path.lstrip("/").partition("/")[0]
    return Call("s3:ListBucket", f"arn:aws:s3:::{bucket}", {"s3:prefix": ()})


def _bucket(
    method: str, bucket: str, query: Query, read_body: Callable[[], bytes]
) -> Iterator[Call]:
    arn = f"arn:aws:s3:::{bucket}"
    part = next((name for parameter, name in _OF_BUCKET.items() if parameter in query), None)
    if method == "POST" and "delete" in query:
        yield from _deleted(bucket, read_body().decode(errors="replace"))
    elif part and method in _VERB:
        # Most of a bucket's parts are deleted with the permission to put them.
        verb = "Put" if method == "DELETE" and part != "BucketPolicy" else _VERB[method]
        yield Call(f"s3:{verb}{part}", arn)
    elif method in ("GET", "HEAD"):
        action = "ListBucket"
        if "versions" in query:
            action = "ListBucketVersions"
        elif "uploads" in query:
            action = "ListBucketMultipartUploads"
        elif not _is_plain(query, _LISTING):
            return
        names = ("prefix", "delimiter", "max-keys")
        context = {f"s3:{name}": tuple(query.get(name, [])[:1]) for name in names}
        yield Call(f"s3:{action}", arn, context)
    elif method in ("PUT", "DELETE") and _is_plain(query, set()):
        yield Call("s3:CreateBucket" if method == "PUT" else "s3:DeleteBucket", arn)


def _object(
    method: str, bucket: str, key: str, query: Query, headers: Mapping[str, str]
) -> Iterator[Call]:
    arn = f"arn:aws:s3:::{bucket}/{key}"
    versions = tuple(query.get("versionId", [])[:1])
    context = {"s3:versionid": versions}
    version = "Version" if versions else ""
    part = next((name for parameter, name in _OF_OBJECT.items() if parameter in query), None)
    if part and method in _VERB:
        yield Call(f"s3:{_VERB[method]}Object{version}{part}", arn, context)
    elif method in ("GET", "HEAD"):
        if "uploadId" in query:
            yield Call("s3:ListMultipartUploadParts", arn)
            return
        if not _is_plain(query, _READING):
            return
        yield Call(f"s3:GetObject{version}", arn, context)
        if "attributes" in query:
            yield Call(f"s3:GetObject{version}Attributes", arn, context)
    elif method == "DELETE" and _is_plain(query, {"versionId", "uploadId"}):
        action = "AbortMultipartUpload" if "uploadId" in query else f"DeleteObject{version}"
        yield Call(f"s3:{action}", arn, context)
    elif _is_plain(query, _WRITING) and (method == "PUT" or query):
        yield from _written(arn, headers)


def _is_plain(query: Query, known: set[str]) -> bool:
    return all(name in known or name.lower().startswith(_SIGNED) for name in query)


def _written(arn: str, headers: Mapping[str, str]) -> Iterator[Call]:
    """A put or a part of one, and what it reads, tags and opens on the way."""
    context = {f"s3:{name}": (headers[name],) if name in headers else () for name in _KEYS}
    yield Call("s3:PutObject", arn, context)
    if "if-match" in headers:  # the answer tells about the object that is there
        yield Call("s3:GetObject", arn, {"s3:versionid": ()})
    if "x-amz-tagging" in headers:
        yield Call("s3:PutObjectTagging", arn)
    if "x-amz-acl" in headers:
        yield Call("s3:PutObjectAcl", arn, context)
    if "x-amz-copy-source" in headers:
        address, _, version = headers["x-amz-copy-source"].partition("?versionId=")
        source = urllib.parse.unquote(address).lstrip("/")
        action = "s3:GetObjectVersion" if version else "s3:GetObject"
        context = {"s3:versionid": (version,) if version else ()}
        yield Call(action, f"arn:aws:s3:::{source}", context)


def _deleted(bucket: str, body: str) -> Iterator[Call]:
    """DeleteObjects: the keys stand in the body. S3 tells of each by itself; here one refusal
    refuses them all."""
    for one in re.findall(r"<Object>(.*?)</Object>", body, re.DOTALL):
        key = re.search(r"<Key>(.*?)</Key>", one, re.DOTALL)
        version = re.search(r"<VersionId>(.*?)</VersionId>", one)
        if key:
            yield Call(
                "s3:DeleteObjectVersion" if version else "s3:DeleteObject",
                f"arn:aws:s3:::{bucket}/{html.unescape(key.group(1))}",
                {"s3:versionid": (version.group(1),) if version else ()},
            )
