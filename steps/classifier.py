"""Prediction with a stored model: labels and confidences for any number of texts.

Nothing here imports what trains a model.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from steps import artifact, inputs
from steps.decision import F32, F64, Calibration
from steps.errors import InputError
from steps.network import Rows, device, scores

Folder = str | os.PathLike[str]

_BLOCK_ROWS = 1024
_BLOCK_CHARACTERS = 4 << 20  # what bounds memory when texts are long


@dataclass(frozen=True)
class Prediction:
    """What the model says of one text."""

    label: str
    confidence: float  # the probability of the label
    review: bool  # a person should look: the confidence is below the model's threshold


class Classifier:
    """A model that was trained and stored."""

    def __init__(self, stored: artifact.Artifact) -> None:
        self.info = stored.info
        self.labels = list(stored.labels)
        self.threshold = stored.decision.review_threshold
        self._calibration = Calibration(stored.decision.temperature, stored.decision.noise)
        self.inputs = inputs.read(stored.kind, stored.info.get("features"), stored.folder)
        self._network = _network(stored)
        self._columns = _columns(stored, self._network, self.inputs)

    @classmethod
    def load(cls, folder: Folder) -> Classifier:
        """The model in a folder, which is no longer needed afterwards.

        Raises InputError for an artifact that is damaged or foreign.
        """
        return cls(artifact.read(Path(folder)))

    @classmethod
    def load_archive(cls, folder: Folder) -> Classifier:
        """The model in a folder's `model.tar.gz`."""
        with tempfile.TemporaryDirectory(prefix="model-") as unpacked:
            artifact.unpack(Path(folder) / artifact.ARCHIVE, Path(unpacked))
            return cls.load(Path(unpacked))

    @classmethod
    def load_either(cls, folder: Folder) -> Classifier:
        """The model in a folder that holds `model.tar.gz`, or what that holds."""
        packed = (Path(folder) / artifact.ARCHIVE).exists()
        return cls.load_archive(folder) if packed else cls.load(folder)

    @property
    def text_column(self) -> str:
        """The column that held the text in the training data."""
        return str(self.info["hyperparameters"]["text_column"])

    def probabilities(self, texts: Sequence[str]) -> F32:
        """The probability of each label: (texts, labels), in the order of `labels`."""
        parts = [self._block(block) for block in _blocks(texts)]
        return np.concatenate([np.zeros((0, len(self.labels)), np.float32), *parts])

    def logits(self, rows: Rows) -> F64:
        """The logit of each label, before noise is allowed for, of texts that `inputs` has made
        arrays of: (rows, labels)."""
        return self._calibration.logits(self._scores(rows))

    def predict(self, texts: Iterable[str]) -> Iterator[Prediction]:
        """A prediction for each text, in order. Texts are read and held a block at a time."""
        for block in _blocks(texts):
            yield from self.decide(self._block(block))

    def decide(self, probabilities: F32) -> Iterator[Prediction]:
        """What the probabilities (texts, labels) mean."""
        chosen = probabilities.argmax(axis=1)
        confidences = probabilities.max(axis=1)
        for number, confidence in zip(chosen.tolist(), confidences.tolist(), strict=True):
            yield Prediction(self.labels[number], confidence, confidence < self.threshold)

    def _block(self, texts: list[str]) -> F32:
        return self._calibration.probabilities(self._scores(self.inputs.rows(texts)))

    def _scores(self, rows: Rows) -> F32:
        return scores(self._network, rows, np.arange(len(rows)), self._columns)


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text)
        if len(block) == _BLOCK_ROWS or size >= _BLOCK_CHARACTERS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _network(stored: artifact.Artifact) -> mx.gluon.SymbolBlock:
    """The exported network."""
    try:
        with warnings.catch_warnings():
            # Its input has no type before there is one: nothing to warn of.
            warnings.filterwarnings("ignore", message="Cannot decide type")
            return mx.gluon.SymbolBlock.imports(
                str(stored.folder / artifact.SYMBOL),
                ["data"],
                str(stored.folder / artifact.PARAMS),
                ctx=device(),
            )
    except Exception as error:  # MXNet raises of every kind here
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"the model's network cannot be loaded: {reason}") from error


def _columns(stored: artifact.Artifact, network: Any, read: inputs.Inputs) -> int:
    """How many scores the network makes of a text, once it fits what `model.json` says."""
    misfit = InputError(
        f"the model's network does not fit its {artifact.INFO}: expected weights for "
        f"{read.width} features and {len(stored.labels)} labels; train again"
    )
    try:
        shapes = [item.data().shape for item in network.collect_params().values()]
        made: F32 = network(read.rows([""]).input(np.arange(1))).asnumpy()
    except Exception as error:  # MXNet raises of every kind here
        raise misfit from error
    fitting = {len(stored.labels)} | ({1} if len(stored.labels) == 2 else set())
    if read.width not in {shape[0] for shape in shapes if shape}:
        raise misfit
    if made.ndim != 2 or len(made) != 1 or made.shape[1] not in fitting:
        raise misfit
    return int(made.shape[1])
