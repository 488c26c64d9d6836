"""What the images hold and do not hold, and that their commands work in them."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pipelines.cli import claimflow
from pipelines.data.sample import write_sample
from pipelines.images import ROOT, TARGETS, image, source_files
from tests.containers.conftest import Run
from tests.steps.small_models import claims, training_job

if TYPE_CHECKING:
    from docker import DockerClient

PACKAGES = "/opt/venv/lib/python3.11/site-packages"


def configuration(engine: DockerClient, name: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.images.get(name).attrs["Config"]
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_the_engine_reads_the_dockerfile_as_the_local_cloud_does(
    engine: DockerClient, built: Callable[[str], str], target: str
) -> None:
    described, found = image(target), configuration(engine, built(target))
    assert tuple(found["Entrypoint"]) == described.entrypoint
    assert tuple(found["Cmd"]) == described.command
    variables = dict(line.split("=", 1) for line in found["Env"])
    assert described.environment.items() <= variables.items()
    assert not found.get("User")
    assert found["WorkingDir"] == "/opt/claimflow"


@pytest.mark.parametrize("target", TARGETS)
def test_labels_say_what_an_image_is(
    engine: DockerClient, built: Callable[[str], str], target: str
) -> None:
    labels = configuration(engine, built(target))["Labels"]
    own = "org.opencontainers.image."
    assert labels[f"{own}title"] == f"claimflow {target}"
    assert labels[f"{own}licenses"] == "Apache-2.0"
    assert labels[f"{own}version"]
    assert re.fullmatch(r"([0-9a-f]{40}(-dirty)?)?", labels[f"{own}revision"])
    assert "@" not in labels[f"{own}source"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("user", [0, 10001, 54321])
def test_any_user_may_run_it_and_write_to_tmp_alone(run: Run, target: str, user: int) -> None:
    program = """
import os, tempfile
import steps.train, steps.validate
with tempfile.TemporaryFile() as file:
    file.write(b"x")
for folder in ("/", "/opt/claimflow", "/opt/venv", "/root", os.getcwd()):
    try:
        open(folder + "/x", "w")
    except OSError:
        continue
    raise SystemExit(folder + " can be written to")
status = open("/proc/self/status").read()
assert "CapEff:\\t0000000000000000" in status, status
print(os.getuid())
"""
    ran = run(target, "-c", program, entrypoint=["python"], user=user)
    assert (ran.exit_code, ran.said) == (0, f"{user}\n")


@pytest.mark.parametrize(
    ("target", "there", "absent"),
    [
        ("validate", "great_expectations pandas mlflow boto3", "mxnet gluonnlp pyarrow batch"),
        ("gluon-cpu", "mxnet gluonnlp pyarrow.parquet mlflow boto3", "pandas great_expectations"),
    ],
)
def test_an_image_holds_what_its_steps_need_and_no_more(
    run: Run, target: str, there: str, absent: str
) -> None:
    program = f"""
import importlib, importlib.util, shutil
for name in {there.split()!r}:
    importlib.import_module(name)
for name in {[*absent.split(), "pip", "setuptools", "ensurepip", "Cython", "pytest", "moto"]!r}:
    assert importlib.util.find_spec(name) is None, name
for program in ("gcc", "cc", "ld", "pip", "pip3", "uv", "git", "curl"):
    assert shutil.which(program) is None, program
"""
    ran = run(target, "-c", program, entrypoint=["python"])
    assert ran.exit_code == 0, ran.said


def test_the_services_whose_descriptions_are_kept_can_be_called(run: Run) -> None:
    program = """
import boto3
for name in ("s3", "sagemaker", "sts"):
    boto3.client(name, region_name="eu-west-1")
"""
    for target in TARGETS:
        ran = run(target, "-c", program, entrypoint=["python"])
        assert ran.exit_code == 0, ran.said


@pytest.mark.parametrize("target", TARGETS)
def test_the_code_in_an_image_is_that_of_the_source_tree(run: Run, target: str) -> None:
    program = """
import hashlib, json, pathlib
root = pathlib.Path("/opt/claimflow")
files = [p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
sums = {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
print(json.dumps(sums))
"""
    ran = run(target, "-c", program, entrypoint=["python"])
    found = json.loads(ran.said)
    del found["sbom.json"]
    expected = {}
    for source in image(target).files:
        for path in source_files(source):
            place = path.relative_to(ROOT).as_posix().removeprefix("containers/")
            expected[place] = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found == expected


@pytest.mark.parametrize("target", TARGETS)
def test_all_bytecode_is_there_and_trusted_whatever_the_times_of_its_sources(
    run: Run, target: str
) -> None:
    program = f"""
import pathlib
from importlib.util import cache_from_source
for top in ({PACKAGES!r}, "/opt/claimflow"):
    for source in pathlib.Path(top).rglob("*.py"):
        try:
            compile(source.read_bytes(), source, "exec")
        except (SyntaxError, ValueError):
            continue  # a template, or of another Python
        compiled = pathlib.Path(cache_from_source(source))
        assert compiled.read_bytes()[4:8] == b"\\1\\0\\0\\0", source
"""
    # Of the packages of others a sample will do: compiling them all takes half a minute.
    program = program.replace('rglob("*.py")', 'rglob("[a-c]*.py")')
    ran = run(target, "-W", "ignore", "-c", program, entrypoint=["python"])
    assert ran.exit_code == 0, ran.said


@pytest.mark.parametrize("target", TARGETS)
def test_the_bill_of_materials_lists_what_is_installed(run: Run, target: str) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = run(target, "/opt/claimflow/sbom.json", entrypoint=["cat"]).said
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    components = json.loads(text)["components"]
    program = """
import json, re
from importlib.metadata import distributions
found = {d.metadata["Name"]: d.version for d in distributions()}
print(json.dumps({re.sub("[-_.]+", "-", name).lower(): found[name] for name in found}))
"""
    installed = json.loads(run(target, "-c", program, entrypoint=["python"]).said)
    python = [one for one in components if one["bom-ref"].startswith("pypi:")]
    assert {one["name"]: one["version"] for one in python} == installed
    listed = run(target, "-W", "-f", "${Package} ${Version}\n", entrypoint=["dpkg-query"]).said
    debian = [one for one in components if one["bom-ref"].startswith("deb:")]
    assert {f"{one['name']} {one['version']}" for one in debian} == set(listed.splitlines())
    lock = (ROOT / "containers" / f"{target}.txt").read_text()
    for one in python:
        (digest,) = one["hashes"]
        assert f"sha256:{digest['content']}" in lock, one["name"]
    assert sum("licenses" in one for one in python) > 0.9 * len(python)


def test_inspecting_says_what_weighs_and_copies_the_bill_of_materials_out(
    built: Callable[[str], str], tmp_path: Path
) -> None:
    name, bill = built("validate"), tmp_path / "bill.json"
    shown = CliRunner().invoke(
        claimflow, ["images", "inspect", "validate", "--json", "--sbom", str(bill)]
    )
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert found["name"] == name
    assert found["digest"] is None
    assert abs(found["size"] - sum(size for size, _ in found["layers"])) < 0.1 * found["size"]
    assert found["packages"]["scipy"] > 10e6
    assert found["components"]["pypi"] == sum(
        one["bom-ref"].startswith("pypi:") for one in json.loads(bill.read_text())["components"]
    )


def test_an_unknown_command_ends_with_2_and_says_which_there_are(run: Run) -> None:
    ran = run("gluon-cpu", "serve")
    assert ran.exit_code == 2
    assert "expected one of: train, validate" in ran.said


def test_training_and_prediction_need_neither_network_nor_root(run: Run, tmp_path: Path) -> None:
    job = training_job(tmp_path / "ml", claims(200))
    ran = run("gluon-cpu", job=tmp_path / "ml")  # without arguments: CMD
    assert ran.exit_code == 0, ran.said
    assert (job.model / "manifest.json").exists()
    with (tmp_path / "ml" / "new.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text",), ("water drips under the pump",)])
    ran = run(
        "gluon-cpu",
        *("predict-file", "--model", "/opt/ml/model", "--input", "/opt/ml/new.csv"),
        *("--output", "/opt/ml/predicted"),
        job=tmp_path / "ml",
    )
    assert ran.exit_code == 0, ran.said
    (row,) = csv.DictReader((tmp_path / "ml" / "predicted" / "predictions.csv").open())
    assert row["text"] == "water drips under the pump"


def test_a_mistake_is_left_where_sagemaker_looks_for_the_reason(run: Run, tmp_path: Path) -> None:
    training_job(tmp_path / "ml", claims(200), epoch="3")
    ran = run("gluon-cpu", "train", job=tmp_path / "ml")
    reason = "hyperparameter 'epoch' does not exist for kind 'ngram': did you mean 'epochs'?"
    assert (ran.exit_code, ran.said) == (1, f"error: {reason}\n")
    assert (tmp_path / "ml" / "output" / "failure").read_text() == reason


@pytest.mark.parametrize("rows", [None, 3])
def test_validation_needs_neither_network_nor_root(
    run: Run, tmp_path: Path, rows: int | None
) -> None:
    sample, ml = write_sample(tmp_path / "sample"), tmp_path / "ml"
    for channel, path in (("train", sample.train), ("test", sample.test)):
        folder = ml / "processing" / channel
        folder.mkdir(parents=True)
        lines = path.read_bytes().splitlines(keepends=True)
        (folder / "claims.csv").write_bytes(b"".join(lines[:rows]))
    ran = run("validate", "validate", job=ml)
    assert ran.exit_code == (1 if rows else 0), ran.said
    assert (ml / "output" / "message").exists() == bool(rows)


def test_the_same_code_makes_the_same_layers(
    engine: DockerClient, built: Callable[[str], str], tmp_path: Path
) -> None:
    """With podman, which sets the times of all files; Docker's default builder cannot."""
    import shutil
    import subprocess

    from pipelines.deployment.image_engine import EPOCH, find_engine

    if find_engine().program != "podman" and not shutil.which("podman"):
        pytest.skip("Docker keeps the times of files")
    (tmp_path / "Dockerfile").write_text(
        f"FROM {built('validate')}\nCOPY steps/ /opt/again/steps/\n"
        "RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/again\n"
    )
    layers = []
    for attempt in ("1", "2"):
        context = tmp_path / attempt
        shutil.copytree(ROOT / "steps", context / "steps", ignore=shutil.ignore_patterns("__py*"))
        name = f"claimflow-test/layers:{attempt}"
        words = ["build", "--no-cache", "--timestamp", EPOCH, "--tag", name]
        subprocess.run(
            ["podman", *words, "--file", str(tmp_path / "Dockerfile"), str(context)],  # noqa: S607
            check=True,
            capture_output=True,
        )
        layers.append(engine.images.get(name).attrs["RootFS"]["Layers"])
        engine.images.remove(name)
    assert layers[0] == layers[1]
