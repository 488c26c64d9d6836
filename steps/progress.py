"""How far a training is, printed while it runs: for a program that draws it for somebody who
watches."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steps.descent import Position

EVERY = 1.0  # seconds, at least


class Progress:
    """Prints a line for the first step, and then about every second."""

    def __init__(self) -> None:
        self._shown = -math.inf  # when

    def show(self, position: Position) -> None:
        now = time.monotonic()
        if now - self._shown < EVERY:
            return
        self._shown = now
        print(
            f"step={position.step} of={position.steps} epoch={position.epoch} "
            f"descent={position.descent} descents={position.descents}",
            flush=True,
        )
