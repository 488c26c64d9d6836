"""The image that works with models, run by the Python of the tests."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.images import ROOT, image
from pipelines.local.environments import Environment
from pipelines.local.predict_here import TARGET


def environment_of_the_tests(code: Path) -> Environment:
    """The tests' own environment holds what the image does: nothing needs to be installed. The code
    is linked into an empty folder."""
    (code / "entrypoint.py").symlink_to(ROOT / "containers" / "entrypoint.py")
    for room in ("steps", "batch"):
        (code / room).symlink_to(ROOT / room)
    return Environment(image(TARGET), Path(sys.prefix), code)
