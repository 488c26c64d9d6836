"""Small tables and models that the tests of training, prediction and evaluation share."""

from __future__ import annotations

import csv
import json
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path

from steps.container import Container
from steps.table import Table
from steps.tracking import TrackingSettings
from steps.train import train

WORDS = {
    "leak": "water drips puddle under the pump seal wet gasket",
    "noise": "rattles squeaks loud knocking bearing humming grinding",
    "electric": "fuse breaker voltage wire short sparks dead battery",
    "finish": "scratch paint peels rust dent chipped surface",
}
COMMON = "the a machine customer says after two weeks since again unit was replaced"
UNTRACKED = TrackingSettings()
SMALL: dict[str, dict[str, str]] = {
    "ngram": {},
    "fasttext": {"kind": "fasttext", "learning_rate": "0.03"},
    "textcnn": {
        "kind": "textcnn",
        "dimensions": "16",
        "filters": "8",
        "learning_rate": "0.02",
        "epochs": "5",
    },
}
"""For each kind what makes it learn these claims in a moment."""


def claims(rows: int, seed: int = 0, labels: Sequence[str] = tuple(WORDS)) -> Table:
    """Rows of words that mostly tell the label, the first label the most frequent."""
    random_ = random.Random(seed)
    texts, given = [], []
    weights = [1 / (place + 1) for place in range(len(labels))]
    for _ in range(rows):
        (label,) = random_.choices(labels, weights)
        words = random_.choices(COMMON.split(), k=6)
        words += random_.choices(WORDS[label].split(), k=3)
        random_.shuffle(words)
        texts.append(" ".join(words))
        given.append(label)
    return Table(texts, given)


def write_table(table: Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(zip(table.texts, table.labels, strict=True))


def training_job(root: Path, table: Table, **hyperparameters: str) -> Container:
    """The folders of a training job that is about to start."""
    container = Container(root)
    write_table(table, container.channel("train") / "train.csv")
    config = root / "input" / "config"
    config.mkdir(parents=True, exist_ok=True)
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters), "utf-8")
    return container


def trained(root: Path, table: Table, **hyperparameters: str) -> Path:
    """The artifact of a training job on the table."""
    container = training_job(root, table, **hyperparameters)
    train(container, UNTRACKED)
    return container.model


def archived(model: Path, folder: Path) -> None:
    """What SageMaker makes of a model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        for path in sorted(model.iterdir()):
            archive.add(path, path.name)
