"""How much each label's rows count when they are learnt from: for labels of unequal frequency."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from steps.errors import InputError

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

LARGEST = 1e4  # of a weight


def parse(text: str) -> dict[str, float] | None:
    """The weights that the hyperparameter `class_weights` names, None for "none" and "balanced".

    Raises InputError for a text that is neither these nor a JSON object of positive numbers.
    """
    if text in ("none", "balanced"):
        return None
    try:
        given = json.loads(text)
        sound = isinstance(given, dict) and all(_sound(weight) for weight in given.values())
    except (ValueError, RecursionError):
        sound = False
    if not sound:
        raise InputError(
            f"hyperparameter class_weights is {text[:100]!r}, expected none, balanced or a JSON "
            f'object such as {{"fire": 2.5}} with weights above 0 and at most {LARGEST:g}'
        )
    return {label: float(weight) for label, weight in given.items()}


def of_rows(text: str, labels: Sequence[str], targets: I64, training: I64) -> F32 | None:
    """What each row counts: (rows,), or None if all count alike.

    Balanced, each label's rows among `training` count as much as any other's, and a row counts 1 on
    the average. Labels that a mapping leaves out count 1.

    Parameters
    ----------
    text
        The hyperparameter `class_weights`.
    labels
        The names of the labels, by number.
    targets
        The number of each row's label: (rows,).
    training
        The rows that are learnt from.

    Raises
    ------
    InputError
        For a weight of a label that the data does not have.
    """
    if text == "none":
        return None
    given = parse(text)
    if given is None:
        counts = np.bincount(targets[training], minlength=len(labels))
        weights = len(training) / (len(labels) * np.maximum(counts, 1))
    else:
        for label in given.keys() - set(labels):
            raise InputError(
                f"hyperparameter class_weights has a weight for {label[:40]!r}, which is no label "
                f"of the training data: it has {', '.join(name[:40] for name in labels[:20])}"
            )
        weights = np.array([given.get(label, 1.0) for label in labels])
    made: F32 = weights[targets].astype(np.float32)
    return made


def _sound(weight: object) -> bool:
    number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    return number and 0 < weight <= LARGEST  # type: ignore[operator]
