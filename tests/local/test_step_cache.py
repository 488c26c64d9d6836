"""Step caching: when a step runs again, and what a later step sees of a cached one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.local.local_cloud import (
    Cloud,
    Document,
    compare,
    condition,
    definition,
    fail,
    folder,
    get,
    join,
    json_get,
    output_of,
    parameter,
    processing,
    training,
    writes,
)

CACHED: Document = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P30D"}}


def counting(path: Path) -> str:
    """A script that notes each of its runs, and writes how many there were."""
    return (
        f"open('{path}', 'a').write('x')\n"
        f"open('processing/o/n.json', 'w').write('[%d]' % len(open('{path}').read()))"
    )


def test_a_cached_step_is_not_run_again_and_its_properties_are_those_of_the_first_run(
    cloud: Cloud, tmp_path: Path
) -> None:
    run_folder = join(folder(), get("Execution.PipelineExecutionId"), on="/")
    output = folder()
    pipeline = cloud.create(
        processing(
            "A",
            counting(tmp_path / "runs"),
            outputs={"o": run_folder},
            files={"N": ("o", "n.json")},
            **CACHED,
        ),
        processing(
            "B",
            writes("p", "open('processing/i/n.json').read()"),
            inputs={"i": output_of("A", "o")},
            outputs={"p": output},
        ),
        condition(
            "Gate",
            compare("Equals", json_get("A", "N", "[0]"), 1),
            otherwise=(fail("Ran", "twice"),),
        ),
    )
    first, second = (cloud.finish(cloud.start(pipeline)) for _ in range(2))
    assert first["PipelineExecutionStatus"] == second["PipelineExecutionStatus"] == "Succeeded"
    assert (tmp_path / "runs").read_text() == "x"
    assert "CacheHitResult" not in first["Steps"]["A"]
    hit = second["Steps"]["A"]["CacheHitResult"]["SourcePipelineExecutionArn"]
    assert hit == first["PipelineExecutionArn"]
    assert second["Steps"]["A"]["Metadata"] == first["Steps"]["A"]["Metadata"]
    assert cloud.read(f"{output}/out.txt") == "[1]"


@pytest.mark.parametrize(
    ("change", "runs"),
    [
        ({"environment": {"SEED": "2"}}, 2),
        ({"seconds": 59}, 1),  # not what the result depends on
        ({"arguments": ("more",)}, 2),
        ({"CacheConfig": {"Enabled": True, "ExpireAfter": "PT0S"}}, 2),
        ({"CacheConfig": {"Enabled": False}}, 2),
        ({"CacheConfig": {"Enabled": True}}, 1),
    ],
    ids=str,
)
def test_a_cached_step_runs_again_when_what_goes_into_it_changes_or_it_has_expired(
    cloud: Cloud, tmp_path: Path, change: Document, runs: int
) -> None:
    def step(**more: Any) -> Document:
        script = counting(tmp_path / "runs")
        return processing("A", script, outputs={"o": folder()}, **{**CACHED, **more})

    pipeline = cloud.create(step())
    cloud.finish(cloud.start(pipeline))
    cloud.client("sagemaker").update_pipeline(
        PipelineName=pipeline, PipelineDefinition=definition(step(**change))
    )
    time.sleep(0.01)
    assert cloud.finish(cloud.start(pipeline))["PipelineExecutionStatus"] == "Succeeded"
    assert (tmp_path / "runs").read_text() == "x" * runs


def test_a_training_whose_hyperparameter_changes_runs_again(cloud: Cloud, tmp_path: Path) -> None:
    pipeline = cloud.create(
        training(
            "A",
            f"open('{tmp_path}/runs', 'a').write('x')",
            hyperparameters={"seed": get("Parameters.Seed")},
            **CACHED,
        ),
        parameters=(parameter("Seed", "String", "1"),),
    )
    for seed in ("1", "1", "2", "1"):
        cloud.finish(cloud.start(pipeline, Seed=seed))
    assert (tmp_path / "runs").read_text() == "xx"


def test_a_failed_step_is_never_cached(cloud: Cloud, tmp_path: Path) -> None:
    script = f"open('{tmp_path}/runs', 'a').write('x'); raise SystemExit(1)"
    pipeline = cloud.create(processing("A", script, **CACHED))
    for _ in range(2):
        assert cloud.finish(cloud.start(pipeline))["PipelineExecutionStatus"] == "Failed"
    assert (tmp_path / "runs").read_text() == "xx"
