"""Which machines the images run on."""

from __future__ import annotations

import pytest

from pipelines.errors import UserError
from pipelines.instance_types import checked, has_gpu
from pipelines.settings import Settings


@pytest.mark.parametrize(
    "name",
    [
        *("ml.c5.2xlarge", "ml.m5.large", "ml.m6i.32xlarge", "ml.m7i.large", "ml.t3.medium"),
        *("ml.c5n.18xlarge", "ml.m5ad.large", "ml.r6id.large", "ml.c7i.metal-24xl"),
        *("ml.p3.2xlarge", "ml.p3dn.24xlarge", "ml.p4d.24xlarge", "ml.p4de.24xlarge"),
        *("ml.g4dn.xlarge", "ml.g5.xlarge", "ml.g6.xlarge", "ml.g6e.48xlarge"),
    ],
)
def test_mxnet_runs_on_x86_and_on_gpus_that_it_has_code_for(name: str) -> None:
    assert checked(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("ml.p5.48xlarge", "ml.p5en.48xlarge", "ml.p6-b200.48xlarge", "ml.p2.xlarge"),
        *("ml.g5g.xlarge", "ml.g7e.xlarge", "ml.trn1.2xlarge", "ml.trn2.48xlarge"),
        *("ml.inf2.xlarge", "ml.m6g.large", "ml.c7gn.large", "ml.r6gd.large", "ml.t4g.medium"),
    ],
)
def test_where_it_has_no_code_the_families_that_work_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"does not run on .*g4dn, g5.*c5, c6i"):
        checked(name)


@pytest.mark.parametrize("name", ["", "c5.large", "ml.c5", "ml.C5.large", "m5.large; rm", "ml.x"])
def test_what_is_no_instance_type_is_told_from_one(name: str) -> None:
    with pytest.raises(ValueError, match=r"is no instance type .*ml\.c5\.2xlarge"):
        checked(name)


@pytest.mark.parametrize(
    ("name", "has"),
    [
        *(("ml.p3.2xlarge", True), ("ml.g4dn.xlarge", True), ("ml.g6e.48xlarge", True)),
        *(("ml.c5.2xlarge", False), ("ml.m5ad.large", False), ("ml.m6g.large", False)),
    ],
)
def test_a_gpu_is_told_by_the_family(name: str, has: bool) -> None:
    assert has_gpu(name) is has


@pytest.mark.parametrize("setting", ["training_instance_type", "processing_instance_type"])
def test_the_settings_refuse_it_by_name(setting: str) -> None:
    with pytest.raises(UserError) as refused:
        Settings.load(**{setting: "ml.p5.48xlarge"})
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"setting {setting} ")
    assert "MXNet 1.9.1 does not run on ml.p5.48xlarge" in line
