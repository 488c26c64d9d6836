"""How fast the prediction job is beside the classifier alone, and how much memory it takes.

    python -m tests.benchmarks.prediction_job [--rows 1000000] [--model FOLDER]

Prints a table. Each line is a process of its own on claims of 300 bytes as CSV, without the time of
imports and of loading the model: the classifier over texts in memory; the job's pass over the file
(reading, predicting, writing, counting) for a few rows and for all; the same on one core; and two
parts of the file at once, each on a core of its own. Without `--model`, a small one is trained.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

TEXT = (
    "the a machine customer says after two weeks since again unit was replaced water drips "
    "puddle under pump seal wet gasket rattles squeaks loud knocking bearing humming grinding fuse "
    "breaker voltage wire short sparks dead battery scratch paint peels rust dent chipped surface"
)
BYTES = 300  # of a row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--measure", nargs=3, metavar=("WHAT", "FILE", "PART"))
    given = parser.parse_args()
    if given.measure:
        what, file, part = given.measure
        print(json.dumps(_measured(what, given.model, Path(file), part)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = given.model or _trained(folder)
        few, all_rows = folder / "few.csv", folder / "all.csv"
        _write(few, given.few)
        _write(all_rows, given.rows)
        print(f"{'':34}{'rows/s':>10}{'CPU µs/row':>12}{'peak MB':>9}")
        alone = _line("classifier, texts in memory", model, all_rows, ["predict"])
        _line(f"job, {given.few:,} rows", model, few, ["job"])
        job = _line(f"job, {given.rows:,} rows", model, all_rows, ["job"])
        one = _line("job, one core", model, all_rows, ["job"], ["0/1"], cores=[0])
        two = _line("array of two, a core each", model, all_rows, ["job"], ["0/2", "1/2"], [0, 1])
        print(f"job / classifier: {job / alone:.2f}   array of two / one core: {two / one:.2f}")


def _line(
    name: str,
    model: Path,
    file: Path,
    what: Sequence[str],
    parts: Sequence[str] = ("0/1",),
    cores: Sequence[int] = (),
) -> float:
    """Measures, prints a line and returns the rows a second."""
    running = []
    for place, part in enumerate(parts):
        pinned = ["taskset", "-c", str(cores[place])] if cores else []
        own = [sys.executable, "-m", "tests.benchmarks.prediction_job", "--model", str(model)]
        command = [*pinned, *own, "--measure", what[0], str(file), part]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    found = [json.loads(process.communicate()[0].splitlines()[-1]) for process in running]
    rows = sum(one["rows"] for one in found)
    speed = rows / (max(one["end"] for one in found) - min(one["start"] for one in found))
    cpu = sum(one["cpu"] for one in found) / rows * 1e6
    peak = max(one["peak"] for one in found) / 2**20
    print(f"{name:34}{speed:10,.0f}{cpu:12.1f}{peak:9.0f}", flush=True)
    return float(speed)


def _measured(what: str, model: Path, file: Path, share: str) -> dict[str, float]:
    from batch.outputs import rejects_writer
    from batch.parts import Part
    from batch.passes import predict_table
    from batch.tables import open_table
    from steps.classifier import Classifier

    classifier = Classifier.load(model)
    texts = ["a text that warms up"] * 5000
    list(classifier.predict(texts))
    index, count = map(int, share.split("/"))
    part = Part.of(index, count, file.stat().st_size)
    if what == "predict":
        with file.open(encoding="utf-8", newline="") as source:
            texts = [row["text"] for row in csv.DictReader(source)]
    _meet(file, share)
    start, cpu = time.time(), time.process_time()
    if what == "predict":
        rows = sum(1 for _ in classifier.predict(texts))
    else:
        with tempfile.TemporaryDirectory() as temporary, file.open("rb") as stream:
            folder = Path(temporary)
            with rejects_writer(folder / "rejects.csv") as rejects:
                table = open_table(stream, file.name, "text", part)
                rows = predict_table(table, classifier, 1, folder, rejects).predicted
    return {
        "rows": rows,
        "start": start,
        "end": time.time(),
        "cpu": time.process_time() - cpu,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _meet(file: Path, share: str) -> None:
    """Waits until all parts of a file have come so far."""
    index, count = map(int, share.split("/"))
    (file.parent / f"ready-{count}-{index}").touch()
    while not all((file.parent / f"ready-{count}-{one}").exists() for one in range(count)):
        time.sleep(0.01)


def _write(path: Path, rows: int) -> None:
    random_, words = random.Random(rows), TEXT.split()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "text", "note"))
        for number in range(rows):
            text = " ".join(random_.choices(words, k=60))[: BYTES - 30]
            writer.writerow((number, f'{text}, "so" said' if number % 2 else text, "a note"))


def _trained(folder: Path) -> Path:
    from tests.steps.small_models import claims, trained

    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)  # what training prints is not part of the table
    try:
        return trained(folder / "training", claims(5000))
    finally:
        sys.stdout.flush()
        os.dup2(output, 1)


if __name__ == "__main__":
    main()
