"""One pass over a table: every row is predicted or rejected, written and counted."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from batch.model import Predicts
from batch.outputs import predictions_name, predictions_writer
from batch.rows import Reject
from batch.tables import Table
from batch.tally import Tally


class WritesRejects(Protocol):
    """Writes rejects, in their order."""

    def write(self, rejects: Sequence[Reject]) -> None: ...


def predict_table(
    table: Table,
    classifier: Predicts,
    model_version: int,
    folder: Path,
    rejects: WritesRejects,
    neutralise: bool = False,
) -> Tally:
    """Predicts the rows of `table` into a file in `folder`, named by `predictions_name`."""
    gc.freeze()  # the model stays: walking through it for each block takes a tenth of the time
    tally = Tally()
    path = folder / predictions_name(table)
    with predictions_writer(path, table, model_version, neutralise) as predictions:
        for block in table.blocks:
            made = list(classifier.predict([row.text for row in block.rows]))
            predictions.write(block, made)
            rejects.write(block.rejects)
            tally.add(block.rows, made)
            tally.reject(block.rejects)
    return tally
