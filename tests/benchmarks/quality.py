"""How good the kinds of model are on a data set, and what they cost: a line for each.

    python tests/benchmarks/quality.py --train train.csv.xz --test test.csv.xz \\
        --kinds ngram,fasttext [--text-column review --label-column sentiment] [--set epochs=2]

Each kind trains in a process of its own, as its container would, with its defaults or what `--set`
says (`--set cnn:epochs=2` for one kind alone). Files may be compressed (gzip, xz). The figures are
of the test rows; training is all of a training job but the imports; throughput counts the test rows
from text to label, tokenising included; memory is the process's peak.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

HEADER = (
    "| kind | accuracy | macro F1 | training, s | rows/s predicted | artifact, MB | memory, MB |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)


def main(arguments: Sequence[str] | None = None) -> int:
    from steps.models import KINDS

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--kinds", default="ngram", help="names with commas between")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--set", action="append", default=[], metavar="[KIND:]NAME=VALUE")
    parser.add_argument("--vectors", type=Path, help="a file for the channel vectors")
    parser.add_argument("--pretrained", type=Path, help="a folder for the channel pretrained")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # the kind that this process measures
    given = parser.parse_args(arguments)
    if given.one:
        print(json.dumps(measured(given, given.one)))
        return 0
    if unknown := set(given.kinds.split(",")) - set(KINDS):
        parser.error(f"no kinds: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    print(f"{platform.machine()}, Python {platform.python_version()}\n\n{HEADER}", flush=True)
    failed = 0
    for kind in given.kinds.split(","):
        command = [sys.executable, __file__, *(arguments or sys.argv[1:]), "--one", kind]
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if ran.returncode:
            failed += 1
            print(f"| {kind} | failed | | | | | |", flush=True)
        else:
            print(line(kind, json.loads(ran.stdout.splitlines()[-1])), flush=True)
    return 1 if failed else 0


def line(kind: str, figures: dict[str, Any]) -> str:
    """A row of the table."""
    return (
        f"| {kind} | {figures['accuracy']:.4f} | {figures['macro_f1']:.4f} "
        f"| {figures['training']:.1f} | {figures['throughput']:,.0f} "
        f"| {figures['artifact'] / 1e6:.1f} | {figures['memory'] / 1e6:,.0f} |"
    )


def measured(given: argparse.Namespace, kind: str) -> dict[str, Any]:
    """What a kind reaches and costs; sizes in bytes, times in seconds."""
    import numpy as np

    from steps import metrics
    from steps.classifier import Classifier
    from steps.container import Container
    from steps.models import module
    from steps.table import read_table
    from steps.tracking import TrackingSettings
    from steps.train import train

    module(kind)  # its imports are not part of the time
    settings = {"kind": kind, "text_column": given.text_column, "label_column": given.label_column}
    for item in given.set:
        name, _, value = item.partition("=")
        of_kind, _, name = name.rpartition(":")
        if of_kind in ("", kind):
            settings[name] = value
    with tempfile.TemporaryDirectory(prefix="quality-") as folder:
        container = Container(Path(folder))
        _channel(container.channel("train"), given.train)
        if given.vectors:
            _channel(container.channel("vectors"), given.vectors)
        if given.pretrained:
            container.channel("pretrained").symlink_to(given.pretrained.resolve())
        config = container.root / "input" / "config"
        config.mkdir(parents=True)
        (config / "hyperparameters.json").write_text(json.dumps(settings), "utf-8")
        began = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            train(container, TrackingSettings())
        training = time.perf_counter() - began
        size = sum(path.stat().st_size for path in container.model.iterdir())
        model = Classifier.load(container.model)
        table = read_table(given.test, given.text_column, given.label_column).complete()
        began = time.perf_counter()
        made = model.probabilities(table.texts)
        predicting = time.perf_counter() - began
    targets = np.array([model.labels.index(label) for label in table.labels])
    scored = metrics.score(targets, made)
    return {
        "accuracy": scored.accuracy,
        "macro_f1": scored.macro_f1,
        "training": training,
        "throughput": len(table) / predicting,
        "artifact": size,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _channel(folder: Path, file: Path) -> None:
    folder.mkdir(parents=True)
    (folder / file.name).symlink_to(file.resolve())


if __name__ == "__main__":
    sys.exit(main())
