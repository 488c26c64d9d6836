"""The model registry of the local cloud: model package groups, versions and approvals.

Behaves as SageMaker's (API reference, `CreateModelPackage` and its neighbours), for versioned
packages.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

from pipelines.local.aws_json import (
    Request,
    Response,
    ServiceError,
    in_period,
    invalid,
    now,
    page,
    present,
)
from pipelines.local.documents import Document, Documents

# Called with the description of a package whose approval status has changed.
ApprovalListener = Callable[[Document], None]

_UPDATABLE = (
    "ModelApprovalStatus",
    "ApprovalDescription",
    "CustomerMetadataProperties",
    "InferenceSpecification",
    "SourceUri",
    "ModelCard",
    "ModelLifeCycle",
)
_SUMMARY = (
    "ModelPackageName",
    "ModelPackageGroupName",
    "ModelPackageVersion",
    "ModelPackageArn",
    "ModelPackageDescription",
    "CreationTime",
    "ModelPackageStatus",
    "ModelApprovalStatus",
)
GROUPS, PACKAGES = "model-package-groups", "model-packages"


class Registry:
    """Model package groups and their versions."""

    def __init__(
        self, documents: Documents, arn_prefix: str, on_approval: ApprovalListener
    ) -> None:
        self._documents = documents
        self._arn_prefix = arn_prefix
        self._on_approval = on_approval
        self._lock = threading.Lock()

    def create_model_package_group(self, request: Request) -> Response:
        name = request["ModelPackageGroupName"]
        with self._lock:
            if self._documents.get(GROUPS, name):
                raise invalid(f"Model Package Group already exists: {name}")
            arn = f"{self._arn_prefix}:model-package-group/{name}"
            self._documents.put(
                GROUPS,
                name,
                present(
                    ModelPackageGroupName=name,
                    ModelPackageGroupArn=arn,
                    ModelPackageGroupDescription=request.get("ModelPackageGroupDescription"),
                    CreationTime=now(),
                    CreatedBy={},
                    ModelPackageGroupStatus="Completed",
                    LastVersion=0,
                ),
            )
        return {"ModelPackageGroupArn": arn}

    def describe_model_package_group(self, request: Request) -> Response:
        group = self._group(request["ModelPackageGroupName"])
        del group["LastVersion"]
        return group

    def list_model_package_groups(self, request: Request) -> Response:
        groups = [
            group
            for group in self._documents.all(GROUPS)
            if request.get("NameContains", "") in group["ModelPackageGroupName"]
        ]
        for group in groups:
            del group["LastVersion"], group["CreatedBy"]
        shown, token = page(_ordered(groups, request, "ModelPackageGroupName"), request)
        return {"ModelPackageGroupSummaryList": shown, **token}

    def delete_model_package_group(self, request: Request) -> Response:
        group = self._group(request["ModelPackageGroupName"])
        name = group["ModelPackageGroupName"]
        if self._packages(name):
            raise ServiceError("ConflictException", f"Model Package Group {name} is not empty")
        self._documents.delete(GROUPS, name)
        return {}

    def create_model_package(self, request: Request) -> Response:
        """Registers the next version of a group; the same `ClientToken` gives the same version."""
        if "ModelPackageGroupName" not in request:
            raise invalid(
                "The local cloud registers versioned packages: ModelPackageGroupName is needed"
            )
        if "InferenceSpecification" not in request and "SourceUri" not in request:
            raise invalid("InferenceSpecification is needed")
        name = _group_name(request["ModelPackageGroupName"])
        with self._lock:
            self._group(name)
            token = request.get("ClientToken")
            for package in self._packages(name):
                if token and package.get("ClientToken") == token:
                    return {"ModelPackageArn": package["ModelPackageArn"]}

            def next_version(group: Document) -> None:
                group["LastVersion"] += 1

            version = self._documents.change(GROUPS, name, next_version)["LastVersion"]
            arn = f"{self._arn_prefix}:model-package/{name}/{version}"
            given = {
                key: value
                for key, value in request.items()
                if key not in ("ModelPackageGroupName", "Tags", "ModelPackageName")
            }
            package = {
                "ModelApprovalStatus": "PendingManualApproval",
                **given,
                "ModelPackageGroupName": name,
                "ModelPackageVersion": version,
                "ModelPackageArn": arn,
                "ModelPackageStatus": "Completed",
                "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
                "CreationTime": now(),
                "CreatedBy": {},
            }
            self._documents.put(PACKAGES, arn, package)
        self._on_approval(package)
        return {"ModelPackageArn": arn}

    def describe_model_package(self, request: Request) -> Response:
        package = self._package(request["ModelPackageName"])
        package.pop("ClientToken", None)
        return package

    def update_model_package(self, request: Request) -> Response:
        """Changes what the request names; what it leaves out stays as it is."""
        before = self._package(request["ModelPackageArn"])

        def change(package: Document) -> None:
            for name in _UPDATABLE:
                if name == "CustomerMetadataProperties" and name in request:
                    package[name] = {**package.get(name, {}), **request[name]}
                elif name in request:
                    package[name] = request[name]
            for name in request.get("CustomerMetadataPropertiesToRemove") or []:
                package.get("CustomerMetadataProperties", {}).pop(name, None)
            package["LastModifiedTime"] = now()

        package = self._documents.change(PACKAGES, before["ModelPackageArn"], change)
        if package["ModelApprovalStatus"] != before["ModelApprovalStatus"]:
            self._on_approval(package)
        return {"ModelPackageArn": package["ModelPackageArn"]}

    def list_model_packages(self, request: Request) -> Response:
        name = request.get("ModelPackageGroupName")
        if name is not None:
            name = self._group(name)["ModelPackageGroupName"]
        wanted = request.get("ModelApprovalStatus")
        packages = [
            {key: package[key] for key in _SUMMARY if key in package}
            for package in self._packages(name)
            if wanted in (None, package["ModelApprovalStatus"])
        ]
        shown, token = page(_ordered(packages, request, "ModelPackageArn"), request)
        return {"ModelPackageSummaryList": shown, **token}

    def delete_model_package(self, request: Request) -> Response:
        self._documents.delete(
            PACKAGES, self._package(request["ModelPackageName"])["ModelPackageArn"]
        )
        return {}

    def _packages(self, group: str | None) -> list[Document]:
        return [
            package
            for package in self._documents.all(PACKAGES)
            if group in (None, package["ModelPackageGroupName"])
        ]

    def _group(self, name: str) -> Document:
        group = self._documents.get(GROUPS, _group_name(name))
        if group is None:
            raise invalid(f"ModelPackageGroup {name} does not exist.")
        return group

    def _package(self, name: str) -> Document:
        package = self._documents.get(PACKAGES, name)
        if package is None:
            raise invalid(f"ModelPackage {name} does not exist.")
        return package


def _group_name(name_or_arn: str) -> str:
    return re.sub(r"^arn:.*:model-package-group/", "", name_or_arn)


def _ordered(items: list[Document], request: Request, name: str) -> list[Document]:
    """As AWS does: by creation time and ascending, unless told otherwise."""
    items = in_period(items, request)

    def key(item: Document) -> Any:
        if request.get("SortBy") == "Name":
            return item[name]
        return (item["CreationTime"], item.get("ModelPackageVersion", 0))

    return sorted(items, key=key, reverse=request.get("SortOrder") == "Descending")
