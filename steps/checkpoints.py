"""Checkpoints of a training: plain arrays in a file that is whole or absent."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoint of one training in a folder that outlives the job's machine."""

    folder: Path
    fingerprint: str  # of all that decides the result: another training's checkpoint is not ours

    @property
    def path(self) -> Path:
        return self.folder / f"{self.fingerprint[:32]}.npz"

    def save(self, arrays: Arrays) -> None:
        """Replaces the checkpoint in one step: after an interruption it is the old or the new."""
        unfinished = self.path.with_suffix(".part")
        with unfinished.open("wb") as file:
            # As `np.savez` does, which leaves a traceback behind where a signal ends it.
            with zipfile.ZipFile(file, "w") as stored:
                for name, array in arrays.items():
                    with stored.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(  # type: ignore[no-untyped-call]
                            member, np.asanyarray(array), allow_pickle=False
                        )
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.path)

    def finish(self) -> None:
        """Empties the checkpoint of a training that has ended: the folder's copy on S3 is only ever
        added to, and every later job downloads it."""
        unfinished = self.path.with_suffix(".part")
        unfinished.touch()
        unfinished.replace(self.path)  # in one step: an upload may be reading what it was

    def load(self) -> Arrays | None:
        """The arrays last saved, or None. A file that cannot be read is no checkpoint: training
        then starts from the beginning."""
        if self.path.exists() and not self.path.stat().st_size:
            return None
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            print(f"checkpoint {self.path.name} is unreadable, starting anew: {error}")
            return None
