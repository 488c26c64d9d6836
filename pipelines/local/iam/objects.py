"""What a request to S3 needs allowed: its operations are told by method, address and headers.

The permissions of each operation stand in the Amazon S3 API reference, and in "Required permissions
for Amazon S3 API operations" of the user guide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from urllib.parse import unquote
from xml.etree import ElementTree

from pipelines.local.aws_json import ServiceError
from pipelines.local.iam.policies import Call

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
# Those that can be deleted; all but one with the permission to put them.
_DELETED = {
    *("cors", "encryption", "lifecycle", "ownershipControls", "policy", "publicAccessBlock"),
    "tagging",
}
# Parts of an object, for an object and for a version of one; only tags can be deleted.
_OF_OBJECT = {
    "acl": ("ObjectAcl", "ObjectVersionAcl"),
    "legal-hold": ("ObjectLegalHold", "ObjectLegalHold"),
    "retention": ("ObjectRetention", "ObjectRetention"),
    "tagging": ("ObjectTagging", "ObjectVersionTagging"),
}
_VERB = {"GET": "Get", "PUT": "Put"}
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
    *("continuation-token", "fetch-owner", "key-marker", "max-uploads"),
    *("version-id-marker", "upload-id-marker"),
}
_LISTS = {"versions": "ListBucketVersions", "uploads": "ListBucketMultipartUploads"}
_PARTS = {"uploadId", "max-parts", "part-number-marker"}
# What a write sets on the way, by its headers; one that ends with a hyphen stands for several.
_ALSO_SET = {
    "x-amz-tagging": "PutObjectTagging",
    "x-amz-acl": "PutObjectAcl",
    "x-amz-grant-": "PutObjectAcl",
    "x-amz-object-lock-legal-hold": "PutObjectLegalHold",
    "x-amz-object-lock-mode": "PutObjectRetention",
    "x-amz-object-lock-retain-until-date": "PutObjectRetention",
}
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


def copy_source(header: str) -> tuple[str, str]:
    """Bucket and key of what a copy reads, and the version or nothing."""
    address, _, version = header.partition("?versionId=")
    return unquote(address).lstrip("/"), unquote(version)


def deleted_keys(body: bytes) -> list[tuple[str, str]]:
    """Each key of DeleteObjects' document, with its version or nothing.

    Raises
    ------
    ServiceError
        It is no such document; one that declares entities is taken for none.
    """
    try:
        if b"<!DOCTYPE" in body.upper():
            raise ValueError
        root = ElementTree.fromstring(body)  # noqa: S314 - no entities, and expat is bounded
        found = []
        for one in (part for part in root if _name(part) == "Object"):
            (key,), (version,) = _texts(one, "Key"), _texts(one, "VersionId") or [""]
            found.append((key, version))
    except (ElementTree.ParseError, ValueError):
        raise ServiceError("MalformedXML", "The document of a deletion cannot be read") from None
    if not found:
        raise ServiceError("MalformedXML", "A deletion names no object")
    return found


def _bucket(
    method: str, bucket: str, query: Query, read_body: Callable[[], bytes]
) -> Iterator[Call]:
    arn = f"arn:aws:s3:::{bucket}"
    part = next((name for name in _OF_BUCKET if name in query), None)
    if method == "POST" and "delete" in query and _is_plain(query, {"delete"}):
        yield from _deleted(bucket, deleted_keys(read_body()))
    elif part:
        if not _is_plain(query, {part}):
            return
        if method in _VERB:
            yield Call(f"s3:{_VERB[method]}{_OF_BUCKET[part]}", arn)
        elif method == "DELETE" and part in _DELETED:
            verb = "Delete" if part == "policy" else "Put"
            yield Call(f"s3:{verb}{_OF_BUCKET[part]}", arn)
    elif method == "GET":
        lists = next((name for name in _LISTS if name in query), None)
        if _is_plain(query, {lists, *_LISTING} if lists else _LISTING):
            names = ("prefix", "delimiter", "max-keys")
            context = {f"s3:{name}": tuple(query.get(name, [])[:1]) for name in names}
            yield Call(f"s3:{_LISTS[lists] if lists else 'ListBucket'}", arn, context)
    elif method == "HEAD" and _is_plain(query, set()):
        absent = {f"s3:{name}": () for name in ("prefix", "delimiter", "max-keys")}
        yield Call("s3:ListBucket", arn, absent)
    elif method in ("PUT", "DELETE") and _is_plain(query, set()):
        yield Call("s3:CreateBucket" if method == "PUT" else "s3:DeleteBucket", arn)


def _object(
    method: str, bucket: str, key: str, query: Query, headers: Mapping[str, str]
) -> Iterator[Call]:
    arn = f"arn:aws:s3:::{bucket}/{key}"
    versions = tuple(query.get("versionId", [])[:1])
    context = {"s3:versionid": versions}
    version = "Version" if versions else ""
    part = next((name for name in _OF_OBJECT if name in query), None)
    if part:
        verb = "Delete" if (method, part) == ("DELETE", "tagging") else _VERB.get(method)
        if verb and _is_plain(query, {part, "versionId"}):
            yield Call(f"s3:{verb}{_OF_OBJECT[part][bool(versions)]}", arn, context)
    elif method == "GET" and "uploadId" in query:
        if _is_plain(query, _PARTS):
            yield Call("s3:ListMultipartUploadParts", arn)
    elif method == "GET" and "attributes" in query:
        if _is_plain(query, {"attributes", "versionId"}):
            yield Call(f"s3:GetObject{version}", arn, context)
            yield Call(f"s3:GetObject{version}Attributes", arn, context)
    elif method in ("GET", "HEAD"):
        if _is_plain(query, {"versionId", "partNumber"}):
            yield Call(f"s3:GetObject{version}", arn, context)
    elif method == "DELETE" and "uploadId" in query:
        if _is_plain(query, {"uploadId"}):
            yield Call("s3:AbortMultipartUpload", arn)
    elif method == "DELETE" and _is_plain(query, {"versionId"}):
        yield Call(f"s3:DeleteObject{version}", arn, context)
        if "x-amz-bypass-governance-retention" in headers:
            yield Call("s3:BypassGovernanceRetention", arn)
    elif _writes(method, query):
        yield from _written(arn, headers)


def _writes(method: str, query: Query) -> bool:
    """Whether a request puts an object, puts a part of one, or begins or ends one of parts."""
    if method == "PUT" and "uploadId" in query:
        return "partNumber" in query and _is_plain(query, {"partNumber", "uploadId"})
    if method == "POST":
        return any(name in query and _is_plain(query, {name}) for name in ("uploads", "uploadId"))
    return method == "PUT" and _is_plain(query, set())


def _is_plain(query: Query, known: set[str]) -> bool:
    return all(name in known or name.lower().startswith(_SIGNED) for name in query)


def _written(arn: str, headers: Mapping[str, str]) -> Iterator[Call]:
    """A put or a part of one, and what it reads, tags and opens on the way."""
    context = {f"s3:{name}": (headers[name],) if name in headers else () for name in _KEYS}
    yield Call("s3:PutObject", arn, context)
    if "if-match" in headers:  # the answer tells about the object that is there
        yield Call("s3:GetObject", arn, {"s3:versionid": ()})
    for action in dict.fromkeys(
        also
        for header, also in _ALSO_SET.items()
        if any(
            name == header or (header[-1] == "-" and name.startswith(header)) for name in headers
        )
    ):
        yield Call(f"s3:{action}", arn, context)
    if "x-amz-copy-source" in headers:
        source, version = copy_source(headers["x-amz-copy-source"])
        action = "s3:GetObjectVersion" if version else "s3:GetObject"
        context = {"s3:versionid": (version,) if version else ()}
        yield Call(action, f"arn:aws:s3:::{source}", context)


def _deleted(bucket: str, keys: list[tuple[str, str]]) -> Iterator[Call]:
    """S3 tells of each key by itself; here one refusal refuses them all."""
    for key, version in keys:
        yield Call(
            "s3:DeleteObjectVersion" if version else "s3:DeleteObject",
            f"arn:aws:s3:::{bucket}/{key}",
            {"s3:versionid": (version,) if version else ()},
        )


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _texts(element: ElementTree.Element, name: str) -> list[str]:
    """The texts of the parts of this name."""
    return ["".join(part.itertext()) for part in element if _name(part) == name]
