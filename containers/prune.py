"""Takes away what an installed environment never uses when it runs: tests, headers and sources of
compiled parts, libraries of protocols that no step speaks, descriptions of AWS services that none
of them calls. It runs once, while an image is built, before bytecode is compiled (`prune.py
FOLDER`).

What it may take away is proved in the image itself: tests/containers runs every step there.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

# Below site-packages, as globs.
UNUSED = (
    "**/tests",
    "**/*.a",
    "**/*.c",
    "**/*.cpp",
    "**/*.h",
    "**/*.hpp",
    "**/*.pxd",
    "**/*.pyx",
    "*/include",  # headers of mxnet and pyarrow
    "numpy/core/include",
    "pyarrow/_flight.*",  # Arrow's RPC
    "pyarrow/libarrow_flight.*",
    "pyarrow/src",
    # Of NVIDIA's libraries, what MXNet neither links nor loads.
    "nvidia/*/include",
    "nvidia/cublas/lib/libnvblas.so.*",
    "nvidia/cuda_runtime/lib/libOpenCL.so.*",
    "nvidia/cufft/lib/libcufftw.so.*",  # FFTW's names for it
    "nvidia/cusolver/lib/libcusolverMg.so.*",  # several GPUs for one system of equations
    # Needed to build gluonnlp, which names it as if it were needed to run.
    "Cython",
    "cython.py",
    "pyximport",
    "[Cc]ython-*.dist-info",
)
# The services that a step or the prediction job speaks to; the others are 25 MB of descriptions.
SERVICES = frozenset({"s3", "sagemaker", "sts"})


def prune(packages: Path) -> list[Path]:
    """Deletes what is not used below a site-packages folder; returns what it deleted."""
    unused = [path for glob in UNUSED for path in packages.glob(glob)]
    unused += [
        folder
        for folder in packages.glob("botocore/data/*/")
        if folder.is_dir() and folder.name not in SERVICES
    ]
    deleted = []
    for path in sorted(unused):  # a folder comes before what lies in it
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.is_symlink() or path.exists():
            path.unlink()
        else:
            continue
        deleted.append(path)
    return deleted


if __name__ == "__main__":
    prune(Path(sys.argv[1]))
