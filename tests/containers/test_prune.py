from __future__ import annotations

from pathlib import Path

import pytest

from containers.prune import SERVICES, prune

USED = (
    "numpy/__init__.py",
    "numpy/testing/__init__.py",
    "numpy/core/_multiarray_umath.so",
    "pyarrow/libarrow.so.2500",
    "pyarrow/_parquet.so",
    "cython_free/__init__.py",
    "cryptography-1.dist-info/METADATA",
    "botocore/data/endpoints.json",
    *(f"botocore/data/{name}/service-2.json.gz" for name in SERVICES),
)
UNUSED = (
    "numpy/core/tests/data/big.csv",
    "numpy/core/tests/test_x.py",
    "numpy/core/include/numpy/ndarrayobject.h",
    "numpy/random/lib/libnpyrandom.a",
    "pyarrow/include/arrow/api.h",
    "pyarrow/libarrow_flight.so.2500",
    "pyarrow/_flight.cpython-311-x86_64-linux-gnu.so",
    "gluonnlp/data/fast_bert_tokenizer.c",
    "Cython/Compiler/Main.py",
    "cython.py",
    "cython-3.3.1.dist-info/METADATA",
    "botocore/data/ec2/2016-11-15/service-2.json.gz",
)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    for name in (*USED, *UNUSED):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    return tmp_path


def test_what_no_step_uses_is_taken_away_and_nothing_else(packages: Path) -> None:
    prune(packages)
    left = {path.relative_to(packages).as_posix() for path in packages.rglob("*") if path.is_file()}
    assert left == set(USED)


def test_a_link_is_taken_away_and_not_what_it_leads_to(packages: Path, tmp_path: Path) -> None:
    (packages / "mlflow").mkdir()
    (packages / "mlflow" / "tests").symlink_to(packages / "numpy" / "testing")
    prune(packages)
    assert not (packages / "mlflow" / "tests").is_symlink()
    assert (packages / "numpy" / "testing" / "__init__.py").exists()


def test_a_second_time_there_is_nothing_left_to_do(packages: Path) -> None:
    assert prune(packages)
    assert prune(packages) == []
