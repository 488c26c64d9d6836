"""The image for GPUs on a machine without one: its libraries resolve, it finds no device, and it
trains on the CPU what the image for CPUs predicts with.

The driver, which every GPU machine mounts into the container, is a stub that gcc makes of
`libcuda_stub.c`. Nothing here shows that it runs on a GPU.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from steps.classifier import Classifier
from tests.containers.conftest import Run, name_of
from tests.steps.small_models import SMALL, claims, training_job

if TYPE_CHECKING:
    from docker import DockerClient

# `make image-gpu` says so; for everybody else an image of 4 GB is no part of the tests.
IS_REQUIRED = os.environ.get("CLAIMFLOW_REQUIRE_ENGINE") == "gluon-gpu"
DRIVER = "/driver"


@pytest.fixture(scope="module", autouse=True)
def gpu_image(engine: DockerClient) -> None:
    from docker.errors import ImageNotFound

    name = name_of("gluon-gpu")
    try:
        engine.images.get(name)
    except ImageNotFound:
        if IS_REQUIRED:
            raise
        pytest.skip(f"{name} is not built: make image-gpu")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stub of the driver."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc to make a stub of the driver with")
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("libcuda_stub.c")
    made = ["-o", str(folder / "libcuda.so.1"), "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    subprocess.run(["gcc", *made, str(source)], check=True)  # noqa: S607
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    return folder


@pytest.fixture
def run_with_driver(run: Run, driver: Path) -> Run:
    """Runs the image as a machine with GPUs would, whose driver is mounted."""
    return partial(
        run, "gluon-gpu", mounts={driver: DRIVER}, environment={"LD_LIBRARY_PATH": DRIVER}
    )


def test_it_holds_no_driver_and_needs_one(run: Run) -> None:
    ran = run("gluon-gpu", "-c", "import mxnet", entrypoint=["python"])
    assert ran.exit_code == 1
    assert "libcuda.so.1: cannot open shared object file" in ran.said


def test_with_a_driver_every_library_finds_what_it_links(run_with_driver: Run) -> None:
    script = (
        "cd /opt/venv/lib/python3.11/site-packages && "
        "for one in mxnet/*.so* nvidia/*/lib/*.so*; do "
        'echo "$one"; ldd -r "$one" | grep -E "not found|undefined symbol"; done; true'
    )
    ran = run_with_driver("-c", script, entrypoint=["sh"])
    lines = ran.said.splitlines()
    assert ran.exit_code == 0, ran.said
    assert not [line for line in lines if "not found" in line or "undefined" in line]
    for library in ("mxnet/libmxnet.so", "nvidia/cudnn/lib/libcudnn_cnn_train.so.8"):
        assert library in lines


def test_it_asks_for_the_machine_s_gpus_and_finds_none_here(run_with_driver: Run) -> None:
    ask = (
        "import json, os, mxnet as mx; wanted = ('NVIDIA_VISIBLE_DEVICES', "
        "'NVIDIA_DRIVER_CAPABILITIES'); print(json.dumps({'version': mx.__version__, 'cudnn': "
        "mx.runtime.Features().is_enabled('CUDNN'), 'gpus': mx.context.num_gpus(), "
        "'asks': [os.environ[name] for name in wanted]}))"
    )
    ran = run_with_driver("-c", ask, entrypoint=["python"])
    assert ran.exit_code == 0, ran.said
    asked = ["all", "compute,utility"]
    found = json.loads(ran.said.splitlines()[-1])
    assert found == {"version": "1.9.1", "cudnn": True, "gpus": 0, "asks": asked}


@pytest.mark.parametrize("kind", ["ngram", "textcnn"])
def test_the_build_for_cpus_predicts_with_what_it_trains(
    run_with_driver: Run, tmp_path: Path, kind: str
) -> None:
    data = claims(200)
    job = training_job(tmp_path / "ml", data, **{**SMALL[kind], "kind": kind, "epochs": "2"})
    ran = run_with_driver("train", job=job.root)
    assert ran.exit_code == 0, ran.said
    assert "this image is for GPUs, but there is none here: training on the CPU" in ran.said
    assert "epoch=1 train_loss=" in ran.said
    made = Classifier.load(job.model).probabilities(data.texts)
    assert made.shape == (200, 4)
    assert made.sum(1) == pytest.approx(1, abs=1e-4)
