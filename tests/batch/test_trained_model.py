"""The whole job with a model that was really trained."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import boto3
import pytest

WORDS = {"brakes": "brakes squeal pedal disc", "paint": "paint scratch rust dent"}
HEADER = "id,text,note\r\n"
ROW = '{},"{}\nsecond line","note, {}"\r\n'


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The `model.tar.gz` of a small training job."""
    root = tmp_path_factory.mktemp("training")
    channel = root / "input" / "data" / "train"
    channel.mkdir(parents=True)
    with (channel / "train.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        for number in range(200):
            for label, words in WORDS.items():
                first, second = words.split()[number % 4], words.split()[(number + 1) % 4]
                writer.writerow((f"claim {number} says {first} and {second}", label))
    (root / "input" / "config").mkdir()
    (root / "input" / "config" / "hyperparameters.json").write_text('{"bits": "16"}')
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")
    }
    subprocess.run(
        [sys.executable, "-c", "import sys, steps.train; sys.exit(steps.train.main())"],
        env=environment | {"SAGEMAKER_BASE_DIR": str(root)},
        check=True,
    )
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path in sorted((root / "model").iterdir()):
            archive.add(path, path.name)
    return packed.getvalue()


def run(model: bytes, body: bytes, key: str) -> tuple[int, str]:
    """Runs the job as Batch does; returns its exit code and what it wrote to its error log."""
    s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
    s3.put_object(Bucket="models", Key="model.tar.gz", Body=model)
    version = s3.put_object(Bucket="uploads", Key=key, Body=body)["ETag"].strip('"')
    sagemaker.create_model_package_group(ModelPackageGroupName="claims")
    arn = sagemaker.create_model_package(
        ModelPackageGroupName="claims",
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [{"Image": "image", "ModelDataUrl": "s3://models/model.tar.gz"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]
    job = subprocess.run(
        [sys.executable, "-c", "import sys, batch.predict; sys.exit(batch.predict.main())"],
        env=os.environ
        | {
            "INPUT_BUCKET": "uploads",
            "INPUT_KEY": key,
            "INPUT_ETAG": version,
            "MODEL_PACKAGE_ARN": arn,
            "RESULTS_BUCKET": "results",
            "RESULTS_PREFIX": "results/a/1/",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    return job.returncode, job.stderr


def result(name: str) -> bytes:
    return boto3.client("s3").get_object(Bucket="results", Key=f"results/a/1/{name}")["Body"].read()


def test_claims_get_the_labels_that_training_taught(aws: str, model: bytes, tmp_path: Path) -> None:
    texts = ["the pedal and disc", "a scratch and a dent", "brakes squeal", "rust on the paint"]
    body = HEADER + "".join(ROW.format(n, text, n) for n, text in enumerate(texts)) + "9,,\r\n"
    code, errors = run(model, gzip.compress(body.encode()), "incoming/a.csv.gz")
    assert (code, "Traceback" in errors) == (0, False)
    written = gzip.decompress(result("predictions.csv.gz")).decode()
    rows = list(csv.DictReader(io.StringIO(written, newline="")))
    assert [row["label"] for row in rows] == ["brakes", "paint", "brakes", "paint"]
    assert [row["text"] for row in rows] == [f"{text}\nsecond line" for text in texts]
    assert all(0.5 <= float(row["confidence"]) <= 1 for row in rows)
    manifest = json.loads(result("manifest.json"))
    assert (manifest["rows_in"], manifest["predicted"], manifest["rejected"]) == (5, 4, 1)
    assert manifest["for_review"] == sum(row["review"] == "true" for row in rows)


def test_an_artifact_that_was_tampered_with_is_refused(aws: str, model: bytes) -> None:
    changed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(model)) as source,
        tarfile.open(fileobj=changed, mode="w:gz") as target,
    ):
        for member in source:
            data = source.extractfile(member)
            assert data is not None
            content = data.read()
            if member.name == "model.json":
                content = content.replace(b"paint", b"faint")
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    code, errors = run(changed.getvalue(), b"id,text\n1,a\n", "incoming/a.csv")
    assert code == 2
    assert "model.json of the model is damaged" in json.loads(result("manifest.json"))["reason"]
    assert errors.startswith("error: ") and errors.count("\n") == 1
