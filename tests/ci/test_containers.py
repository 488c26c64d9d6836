"""`ci/containers`, as far as it needs no engine."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.line import ROOT


def down(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "ci" / "containers"), "--root", str(folder), "down", "--all"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_folder_that_others_made_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "run").mkdir()
    done = down(tmp_path)
    assert done.returncode == 2
    assert "was not made by ci/containers" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "run").is_dir()
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_folder_of_its_own_is_removed(tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "run").mkdir(parents=True)
    (own / ".claimflow").touch()
    assert down(own).returncode == 0
    assert not own.exists()
