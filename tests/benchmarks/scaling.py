"""How training and prediction grow with rows, hosts and processes: two tables.

    python tests/benchmarks/scaling.py --train train.csv.xz \\
        [--text-column review --label-column sentiment] [--rows 1000,10000,100000,1000000]
        [--characters 300] [--kind ngram] [--hosts 1,2] [--processes 1,2]

The rows are those of the file, as often as needed and shuffled, each cut to so many characters.
A training is the whole job from the start of its processes to their end, imports included, for two
epochs; the hosts are processes of this machine, so that two share its cores. Predicting processes
have a core each and read their texts one by one; loading the model is apart, without imports.
Memory is the largest peak of a process.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steps.table import Table

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--train", type=Path)
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--rows", type=_numbers, default=_numbers("1000,10000,100000,1000000"))
    parser.add_argument("--characters", type=int, default=300)
    parser.add_argument("--kind", default="ngram")
    parser.add_argument("--hosts", type=_numbers, default=_numbers("1,2"))
    parser.add_argument("--processes", type=_numbers, default=_numbers("1,2"))
    parser.add_argument("--predict", nargs=3, help=argparse.SUPPRESS)  # model, texts, rows
    given = parser.parse_args()
    if given.predict:
        model, texts, rows = given.predict
        print(json.dumps(_predicted(Path(model), Path(texts), int(rows))))
        return 0
    from steps.table import Table, read_table

    read = read_table(given.train, given.text_column, given.label_column).complete()
    table = Table([text[: given.characters] for text in read.texts], read.labels)
    print(f"{platform.machine()}, Python {platform.python_version()}, kind {given.kind}\n")
    print("| rows trained on | hosts | seconds | rows/s | memory of a host, MB |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory(prefix="scaling-") as name:
        folder = Path(name)
        for rows in given.rows:
            for hosts in given.hosts:
                job = folder / f"{rows}-{hosts}"
                seconds, memory = _trained(job, table, rows, hosts, given.kind)
                print(
                    f"| {rows:,} | {hosts} | {seconds:.1f} | {rows / seconds:,.0f} "
                    f"| {memory / 1e6:,.0f} |",
                    flush=True,
                )
        model = folder / f"{given.rows[-1]}-{given.hosts[0]}" / "0" / "model"
        texts = folder / "texts.json"
        texts.write_text(json.dumps(table.texts), "utf-8")
        print("\n| rows predicted | processes | seconds | rows/s | memory, MB | loading, s |")
        print("| --- | --- | --- | --- | --- | --- |", flush=True)
        for rows in given.rows:
            for processes in given.processes:
                print(_prediction(model, texts, rows, processes), flush=True)
    return 0


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _trained(folder: Path, table: Table, rows: int, hosts: int, kind: str) -> tuple[float, float]:
    """The seconds that a job takes, and the peak memory of its hungriest host."""
    from steps.container import Container

    order = random.Random(0).sample(range(rows), rows)
    data = folder / "train.csv"
    folder.mkdir()
    with data.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((table.texts[n % len(table)], table.labels[n % len(table)]) for n in order)
    names = [f"algo-{number + 1}" for number in range(hosts)]
    settings = {"kind": kind, "epochs": "2", "patience": "2"}
    with socket.create_server(("127.0.0.1", 0)) as probe:
        meeting = f"127.0.0.1:{probe.getsockname()[1]}"
    began = time.perf_counter()
    running = []
    for number, name in enumerate(names):
        container = Container(folder / str(number))
        config = container.root / "input" / "config"
        config.mkdir(parents=True)
        container.model.mkdir()
        container.channel("train").mkdir(parents=True)
        (container.channel("train") / data.name).symlink_to(data)
        (config / "hyperparameters.json").write_text(json.dumps(settings), "utf-8")
        resources = {"current_host": name, "hosts": names}
        (config / "resourceconfig.json").write_text(json.dumps(resources), "utf-8")
        running.append(
            subprocess.Popen(
                [sys.executable, str(ROOT / "containers" / "entrypoint.py"), "train"],
                env={
                    **os.environ,
                    "SAGEMAKER_BASE_DIR": str(container.root),
                    "CLAIMFLOW_MEETING": meeting,
                    "PYTHONPATH": str(ROOT),
                },
                stdout=subprocess.DEVNULL,
            )
        )
    memory = 0
    for process in running:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        memory = max(memory, usage.ru_maxrss * 1024)
    seconds = time.perf_counter() - began
    if any(process.returncode for process in running):
        raise SystemExit(f"a training of {rows} rows on {hosts} hosts failed: see above")
    data.unlink()
    return seconds, memory


def _prediction(model: Path, texts: Path, rows: int, processes: int) -> str:
    """A row of the table of predictions."""
    cores = sorted(os.sched_getaffinity(0))
    running = []
    for number in range(processes):
        share = rows * (number + 1) // processes - rows * number // processes
        core = str(cores[number % len(cores)])
        command = ["taskset", "--cpu-list", core, sys.executable, __file__]
        arguments = ["--predict", str(model), str(texts), str(share)]
        running.append(subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True))
    said = [json.loads(process.communicate()[0].splitlines()[-1]) for process in running]
    seconds = max(each["seconds"] for each in said)
    return (
        f"| {rows:,} | {processes} | {seconds:.2f} | {rows / seconds:,.0f} "
        f"| {max(each['memory'] for each in said) / 1e6:,.0f} "
        f"| {max(each['loading'] for each in said):.2f} |"
    )


def _predicted(folder: Path, file: Path, rows: int) -> dict[str, float]:
    from steps.classifier import Classifier

    texts: Sequence[str] = json.loads(file.read_text("utf-8"))
    began = time.perf_counter()
    model = Classifier.load(folder)
    loaded = time.perf_counter()
    some: Iterator[str] = islice(cycle(texts), rows)
    for _ in model.predict(some):
        pass
    return {
        "loading": loaded - began,
        "seconds": time.perf_counter() - loaded,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    sys.exit(main())
