"""From put to finished manifest, in a local cloud of its own: where the time goes.

    python tests/benchmarks/end_to_end.py [--rows 1000] [--runs 5]

Everything is real: the queue, the function, Batch, and the prediction job as a process in the
environment of its image. The model is a small one that is trained here. A run's times in seconds:

    trigger   put to SubmitJob: event, queue, function
    queue     SubmitJob to RUNNING
    job       RUNNING to manifest: the process, its imports, artifact, prediction, outputs
    start     of that, Python and the imports of the job's own code, measured on their own
    mxnet     of that, `import mxnet` in the image's environment, measured on its own
    total     put to manifest

The goal is a total below 5 s plus the import of MXNet.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipelines.images import image
from pipelines.local.cloud import LocalCloud
from pipelines.local.environments import Environments
from pipelines.settings import Settings
from tests.steps.small_models import archived, claims, trained

ENVIRONMENTS = Path(__file__).resolve().parents[2] / ".claimflow" / "environments"
GOAL = 5.0  # seconds without the import of MXNet
PARTS = ("trigger", "queue", "job", "total")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="end-to-end-") as temporary:
        folder = Path(temporary)
        (folder / "state").mkdir()
        ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
        (folder / "state" / "environments").symlink_to(ENVIRONMENTS)
        with contextlib.redirect_stdout(io.StringIO()):
            archived(trained(folder / "training", claims(2000)), folder / "model")
        settings = Settings.load(state=folder / "state")
        cloud = LocalCloud(settings)
        cloud.prepare()
        cloud.start()
        try:
            runs = measure(cloud, settings, folder, options.rows, options.runs)
        finally:
            cloud.stop()
    bare, imported = seconds_of("import batch.predict"), seconds_of("import mxnet")
    for name in PARTS:
        values = [run[name] for run in runs]
        print(f"{name:8} median {statistics.median(values):6.2f}  best {min(values):6.2f}")
    print(f"{'start':8} median {bare:6.2f}")
    print(f"{'mxnet':8} median {imported:6.2f}")
    total = statistics.median([run["total"] for run in runs])
    print(f"{total - imported:.2f} s without the import of MXNet; the goal is {GOAL:.0f} s")
    return int(total - imported > GOAL)


def measure(
    cloud: LocalCloud, settings: Settings, folder: Path, rows: int, runs: int
) -> list[dict[str, float]]:
    """The times of some uploads, one after the other; the first of all warms up the functions."""
    s3, bucket = cloud.client("s3"), settings.bucket("predictions")
    artifact = f"s3://{settings.bucket('models')}/runs/benchmark/model/model.tar.gz"
    s3.upload_file(
        str(folder / "model" / "model.tar.gz"),
        settings.bucket("models"),
        "runs/benchmark/model/model.tar.gz",
    )
    cloud.client("sagemaker").create_model_package(
        ModelPackageGroupName=settings.model_package_group,
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [{"Image": image("gluon-cpu").uri(settings), "ModelDataUrl": artifact}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )
    body = "\n".join(["id,text", *(f"{i},{text}" for i, text in enumerate(claims(rows).texts)), ""])
    found = []
    for number in range(runs + 1):
        begin = time.time()
        s3.put_object(Bucket=bucket, Key=f"incoming/{number}.csv", Body=body.encode())
        found.append(follow(cloud, settings, begin, number + 1))
    return found[1:]


def follow(cloud: LocalCloud, settings: Settings, begin: float, uploads: int) -> dict[str, float]:
    """The times of the newest of so many uploads."""
    s3, batch = cloud.client("s3"), cloud.client("batch")
    results, queue = settings.bucket("results"), settings.job_queue
    prefix = f"results/{uploads - 1}.csv/"
    deadline = time.monotonic() + 120
    manifest: Any = None
    while manifest is None:
        if time.monotonic() > deadline:
            raise SystemExit(f"upload {uploads - 1} was not predicted within two minutes")
        time.sleep(0.02)
        listed = s3.list_objects_v2(Bucket=results, Prefix=prefix).get("Contents", [])
        manifest = next((one for one in listed if one["Key"].endswith("/manifest.json")), None)
    finished = time.time()
    everything = [{"name": "JOB_NAME", "values": ["predict-*"]}]
    job: Any = None
    while job is None or job["status"] != "SUCCEEDED":
        time.sleep(0.02)
        jobs = batch.list_jobs(jobQueue=queue, filters=everything)["jobSummaryList"]
        job = batch.describe_jobs(jobs=[jobs[0]["jobId"]])["jobs"][0]
    created, started = job["createdAt"] / 1000, job["startedAt"] / 1000
    return {
        "trigger": created - begin,
        "queue": started - created,
        "job": finished - started,
        "total": finished - begin,
    }


def seconds_of(code: str) -> float:
    """The median of three runs of a line of Python in the image's environment."""
    place = Environments(ENVIRONMENTS).find(image("gluon-cpu").uri(Settings.load()))
    times = []
    for _ in range(3):
        begin = time.monotonic()
        subprocess.run(
            place.command(["-c", code], ["python"]),
            env={**place.variables(), "HOME": tempfile.gettempdir(), "PYTHONPATH": str(place.code)},
            cwd=place.code,
            check=True,
        )
        times.append(time.monotonic() - begin)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
