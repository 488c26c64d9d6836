"""The command `train`: from the channel "train" to a model artifact."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from steps import artifact, class_weights, decision, metrics, models
from steps.checkpoints import Checkpoints
from steps.container import Container, noted_stops, run_step
from steps.distributed import Hosts, joined
from steps.errors import InputError
from steps.hyperparameters import Hyperparameters, NetworkHyperparameters, parse
from steps.progress import Progress
from steps.table import Table, read_table, sort_labels
from steps.tracking import Run, TrackingSettings, tracking

if TYPE_CHECKING:
    from steps.descent import Epoch, Task

I64 = npt.NDArray[np.int64]

CONFIDENCE_BINS = 100


def main() -> int:
    settings = TrackingSettings.from_environment()
    return run_step(lambda container: train(container, settings))


def train(container: Container, tracking_settings: TrackingSettings) -> None:
    """Trains a model as the job's hyperparameters say, and leaves its artifact in the job's model
    folder.

    Several hosts learn together, each from its part of every batch. The first of them alone keeps
    checkpoints, tracks the run, prints figures and leaves the artifact: SageMaker packs the model
    folders of all hosts into one archive.

    Raises InputError for hyperparameters and data that it cannot work with, and when a host is
    gone.
    """
    settings = parse(container.hyperparameters())
    with joined(container) as hosts:
        if hosts.number:
            tracking_settings = replace(tracking_settings, uri="")
        checkpoints = _train(container, settings, tracking_settings, hosts)
    if checkpoints:  # not sooner: a job that is interrupted meanwhile begins again
        checkpoints.finish()


def _train(
    container: Container,
    settings: Hyperparameters,
    tracking_settings: TrackingSettings,
    hosts: Hosts,
) -> Checkpoints | None:
    """Where checkpoints were kept that nobody needs any more."""
    with tracking(container, "Train", tracking_settings) as run:
        run.log_params(settings.as_dict())
        channel = container.channel("train")
        table = read_table(channel, settings.text_column, settings.label_column).complete()
        return _learn(container, table, settings, run, tracking_settings.code_version, hosts)


def _learn(
    container: Container,
    table: Table,
    settings: Hyperparameters,
    run: Run,
    code_version: str,
    hosts: Hosts,
) -> Checkpoints | None:
    labels = trainable_labels(table)
    numbers = {label: number for number, label in enumerate(labels)}
    targets = np.array([numbers[label] for label in table.labels])
    training, validation = split_rows(targets, settings.validation_share, settings.seed)
    fingerprint = data_fingerprint(table)

    import mxnet as mx

    from steps import descent, half_precision
    from steps.descent import Examples, Split

    if container.expects_gpu and not mx.context.num_gpus():
        print("this image is for GPUs, but there is none here: training on the CPU", flush=True)
    split = Split(training, validation)
    weights = class_weights.of_rows(settings.class_weights, labels, targets, training)
    examples = Examples(table.texts, targets, len(labels), split, container.channel)
    half = isinstance(settings, NetworkHyperparameters) and settings.float16
    if half:
        half_precision.begin()
    prepared: Task = models.module(settings.kind).prepare(examples, settings)
    task = replace(prepared, weights=weights, half=half)
    begins = [fingerprint, descent.fingerprint(task.network)]
    identity = _identity(begins, settings, code_version)
    hosts.agree("beginning", identity)
    checkpoints = None
    if container.checkpoints.is_dir():
        checkpoints = Checkpoints(container.checkpoints, identity)

    def report(epoch: Epoch) -> None:
        if hosts.number == 0:
            _report(epoch, run)

    stepped = Progress().show if container.shows_progress else descent.unwatched
    with noted_stops() as stopping:
        # Of the first descent, which alone has not learnt from the validation rows.
        scores = descent.descend(
            task, split, settings, report, checkpoints, hosts, stopping, stepped
        )
    if hosts.number:
        return None
    task = replace(task, network=task.finish(task.network))
    calibration = decision.calibrate(scores, targets[validation])
    made = calibration.probabilities(scores)
    threshold = decision.review_threshold(made, targets[validation], settings.review_precision)
    figures = _figures(made, targets[validation], threshold)
    print(" ".join(f"{name}={value:.4f}" for name, value in figures.items()), flush=True)
    run.log_metrics(figures)
    artifact.write(
        container.model,
        {
            "kind": settings.kind,
            "hyperparameters": settings.as_dict(),
            "labels": labels,
            "decision": {
                "temperature": calibration.temperature,
                "noise": calibration.noise,
                "review_threshold": threshold,
                "review_precision": settings.review_precision,
            },
            "features": task.inputs.described(),
            "training_data": {
                "sha256": fingerprint,
                "rows": len(table),
                "training_rows": len(training),
                "validation_rows": len(validation),
                "labels": label_counts(table, labels),
            },
            "validation": figures,
            "validation_confidence": confidence_histogram(made),
            "versions": {
                "code": code_version,
                "python": platform.python_version(),
                "mxnet": mx.__version__,
                "numpy": np.__version__,
            },
        },
        lambda folder: _export(task, folder),
    )
    run.log_artifact(container.model / artifact.INFO)
    return checkpoints


def trainable_labels(table: Table) -> list[str]:
    """The labels in the model's order. Raises InputError unless there are two or more."""
    labels = sort_labels(table.labels)
    if len(labels) < 2:
        raise InputError(
            f"the training data has {len(labels)} label(s) in {len(table)} complete rows, "
            "expected at least two: check the label column"
        )
    return labels


def split_rows(targets: I64, share: float, seed: int) -> tuple[I64, I64]:
    """The rows for training and for validation, each in ascending order.

    The share is taken from each label alike; a label always keeps a row for training. Where the
    share comes to no row at all, one row of each label that has two is taken.
    """
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(targets), bool)
    counts = Counter(targets.tolist())
    taken = {label: min(count - 1, round(count * share)) for label, count in counts.items()}
    if share > 0 and not any(taken.values()):
        taken = {label: min(count - 1, 1) for label, count in counts.items()}
    for label in sorted(taken):
        rows = np.flatnonzero(targets == label)
        chosen[random.permutation(rows)[: taken[label]]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def data_fingerprint(table: Table) -> str:
    """The sha256 over all texts and labels in their order."""
    digest = hashlib.sha256()
    for part in (table.texts, table.labels):
        encoded = [item.encode("utf-8", "surrogatepass") for item in part]
        digest.update(json.dumps([len(item) for item in encoded]).encode())
        digest.update(b"".join(encoded))
    return digest.hexdigest()


def label_counts(table: Table, labels: Sequence[str]) -> dict[str, int]:
    """How many rows each label has, in the order of `labels`."""
    counts = Counter(table.labels)
    return {label: counts[label] for label in labels}


def confidence_histogram(probabilities: decision.F32) -> list[int]:
    """How many rows have their confidence in each of `CONFIDENCE_BINS` equal bins of [0, 1], the
    last with 1: (rows, labels) -> bins. The prediction job counts in the same bins, so that later
    claims can be compared with those of the training."""
    confidence = probabilities.max(axis=1, initial=0).astype(np.float64)
    places = np.minimum((confidence * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)
    made: list[int] = np.bincount(places, minlength=CONFIDENCE_BINS).tolist()
    return made


def _identity(begins: list[str], settings: Hyperparameters, code_version: str) -> str:
    """The sha256 of what decides a training's result: the data, the given weights, the settings,
    and the code, because other code may mean other features by the same numbers."""
    described = json.dumps([begins, settings.as_dict(), code_version], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()


def _export(task: Task, folder: Path) -> None:
    """Writes Gluon's `model-symbol.json` and `model-0000.params`, and the vocabulary if any."""
    task.network.export(str(folder / "model"), epoch=0)
    if task.inputs.vocabulary:
        (folder / artifact.VOCABULARY).write_text(task.inputs.vocabulary.text, "utf-8")


def _report(epoch: Epoch, run: Run) -> None:
    """One line that SageMaker's metric definitions can read; what there is none of is left out.
    Later descents, which the validation rows do not judge, are told in the log alone, in words that
    no metric definition reads."""
    if epoch.descent > 1:
        print(
            f"descent={epoch.descent} epoch={epoch.number} loss={epoch.train_loss:.4f}", flush=True
        )
        return
    figures = {
        name: value
        for name, value in (
            ("train_loss", epoch.train_loss),
            ("val_loss", epoch.val_loss),
            ("val_accuracy", epoch.val_accuracy),
            ("val_macro_f1", epoch.val_macro_f1),
        )
        if not math.isnan(value)
    }
    shown = " ".join(f"{name}={value:.4f}" for name, value in figures.items())
    print(f"epoch={epoch.number} {shown} samples_per_s={epoch.samples_per_s:.0f}", flush=True)
    run.log_metrics({**figures, "samples_per_s": epoch.samples_per_s}, step=epoch.number)


def _figures(made: decision.F32, targets: I64, threshold: float) -> dict[str, float]:
    """What the validation rows say of the model; nothing without such rows."""
    if not len(targets):
        return {}
    scored = metrics.score(targets, made)
    return {
        "validation_accuracy": scored.accuracy,
        "validation_macro_f1": scored.macro_f1,
        "validation_log_loss": scored.log_loss,
        "validation_calibration_error": scored.calibration_error,
        "review_share": float(np.mean(made.max(axis=1) < threshold)),
    }
