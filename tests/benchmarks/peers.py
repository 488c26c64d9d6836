"""The kind `ngram` beside what people use otherwise: the same rows, ratios within one run.

    python -m venv --without-pip .venv/peers
    uv pip sync --python .venv/peers/bin/python --require-hashes tests/benchmarks/peers.txt
    python tests/benchmarks/peers.py --train train.csv.xz --test test.csv.xz \\
        [--text-column review --label-column sentiment] [--rounds 3]

The peers: fastText with pairs of words (5 epochs, two threads; its texts in lower case with marks
apart, as its authors prepare them), scikit-learn's TF-IDF of words and pairs with LinearSVC, and,
where that environment has PyTorch, a mean of embeddings of hashed words and pairs with a linear
layer. Each run is a process of its own, all take turns `--rounds` times, and the fastest time of
each counts. Training is all from reading the file to the model in memory, prediction all from text
to label; imports are in neither, and fastText is not charged for preparing what it predicts.

`tests/benchmarks/peers.in` says what the peers need, `peers.txt` locks it (as in `make lock`).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import importlib.util
import json
import lzma
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".venv" / "peers" / "bin" / "python"
OURS = "claimflow ngram"
HEADER = (
    "| what | accuracy | training, s | of ours | rows/s predicted | of ours |\n"
    "| --- | --- | --- | --- | --- | --- |"
)

Figures = dict[str, float]
Measured = Callable[[argparse.Namespace], Figures]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", type=Path, default=PEERS, help="of the peers' environment")
    parser.add_argument("--one", choices=KINDS, help=argparse.SUPPRESS)  # what to measure here
    given = parser.parse_args()
    if given.one:
        print(json.dumps(KINDS[given.one](given)))
        return 0
    if not given.python.exists():
        parser.error(f"{given.python} does not exist: see the head of this file for how to make it")
    found: dict[str, list[Figures]] = {}
    for _ in range(given.rounds):
        for kind in KINDS:
            python = sys.executable if kind == OURS else str(given.python)
            command = [python, __file__, *sys.argv[1:], "--one", kind]
            variables = {**os.environ, "OMP_NUM_THREADS": "2"} if kind == "PyTorch" else None
            ran = subprocess.run(
                command, stdout=subprocess.PIPE, text=True, check=False, env=variables
            )
            if ran.returncode:
                print(f"{kind} failed", file=sys.stderr)
                return 1
            figures = json.loads(ran.stdout.splitlines()[-1])
            if figures:
                found.setdefault(kind, []).append(figures)
    print(f"{platform.machine()}, Python {platform.python_version()}, best of {given.rounds}\n")
    print(HEADER)
    best = {kind: _best(runs) for kind, runs in found.items()}
    for kind, figures in best.items():
        training = figures["training"] / best[OURS]["training"]
        throughput = figures["throughput"] / best[OURS]["throughput"]
        print(
            f"| {kind} | {figures['accuracy']:.4f} | {figures['training']:.1f} | {training:.2f} "
            f"| {figures['throughput']:,.0f} | {throughput:.2f} |"
        )
    slowest = max(
        max(run["training"] for run in runs) / best[kind]["training"]
        for kind, runs in found.items()
    )
    print(f"\nthe slowest training took {slowest:.2f} times the fastest of its kind")
    return 0


def _best(runs: Sequence[Figures]) -> Figures:
    return {
        "accuracy": runs[0]["accuracy"],
        "training": min(run["training"] for run in runs),
        "throughput": max(run["throughput"] for run in runs),
    }


def _ngram(given: argparse.Namespace) -> Figures:
    sys.path.insert(0, str(ROOT))
    from tests.benchmarks.quality import measured

    given.set, given.vectors, given.pretrained = [], None, None
    figures = measured(given, "ngram")
    return {name: figures[name] for name in ("accuracy", "training", "throughput")}


def _fasttext(given: argparse.Namespace) -> Figures:
    fasttext: Any = import_module("fasttext")
    mark = re.compile(r"([^\w\s])")

    def prepared(text: str) -> str:
        return " ".join(mark.sub(r" \1 ", text.lower()).split())

    texts, labels = _read(given.test, given)
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        began = time.perf_counter()
        file = Path(folder) / "train.txt"
        rows = zip(*_read(given.train, given), strict=True)
        lines = (f"__label__{label} {prepared(text)}\n" for text, label in rows)
        file.write_text("".join(lines), "utf-8")
        model = fasttext.train_supervised(
            str(file), wordNgrams=2, epoch=5, lr=0.5, bucket=1 << 21, thread=2, verbose=0
        )
        training = time.perf_counter() - began
    lines_to_predict = [prepared(text) for text in texts]
    began = time.perf_counter()
    chosen = [found[0] for found in model.predict(lines_to_predict)[0]]
    seconds = time.perf_counter() - began
    return _figures(chosen, [f"__label__{label}" for label in labels], training, seconds)


def _scikit_learn(given: argparse.Namespace) -> Figures:
    vectorizer = import_module("sklearn.feature_extraction.text").TfidfVectorizer
    classifier = import_module("sklearn.svm").LinearSVC
    make_pipeline = import_module("sklearn.pipeline").make_pipeline
    texts, labels = _read(given.test, given)
    began = time.perf_counter()
    model = make_pipeline(vectorizer(ngram_range=(1, 2), sublinear_tf=True), classifier())
    model.fit(*_read(given.train, given))
    training = time.perf_counter() - began
    began = time.perf_counter()
    chosen = list(model.predict(texts))
    return _figures(chosen, labels, training, time.perf_counter() - began)


def _pytorch(given: argparse.Namespace) -> Figures:
    if not importlib.util.find_spec("torch"):
        return {}
    torch: Any = import_module("torch")
    torch.manual_seed(0)
    texts, labels = _read(given.test, given)
    buckets = 1 << 21

    def bags(texts: Sequence[str]) -> list[Any]:
        made = []
        for text in texts:
            words = re.findall(r"\w+|[^\w\s]", text.lower())
            pairs = [f"{one} {other}" for one, other in pairwise(words)]
            numbers = [zlib.crc32(each.encode()) % buckets for each in words + pairs]
            made.append(torch.tensor(numbers or [0]))
        return made

    def scores(rows: Sequence[Any]) -> Any:
        starts = torch.tensor([0, *(len(row) for row in rows[:-1])]).cumsum(0)
        return network[1](network[0](torch.cat(list(rows)), starts))

    began = time.perf_counter()
    learnt, named = _read(given.train, given)
    names = sorted(set(named))
    targets = torch.tensor([names.index(label) for label in named])
    rows = bags(learnt)
    network = torch.nn.ModuleList(
        [torch.nn.EmbeddingBag(buckets, 16, sparse=True), torch.nn.Linear(16, len(names))]
    )
    optimizers = [
        torch.optim.SparseAdam(list(network[0].parameters()), lr=0.005),
        torch.optim.Adam(network[1].parameters(), lr=0.005),
    ]
    for _ in range(3):
        for some in torch.randperm(len(rows)).split(64):
            loss = torch.nn.functional.cross_entropy(
                scores([rows[row] for row in some]), targets[some]
            )
            network.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
    training = time.perf_counter() - began
    began = time.perf_counter()
    with torch.no_grad():
        chosen = [
            names[number]
            for first in range(0, len(texts), 1024)
            for number in scores(bags(texts[first : first + 1024])).argmax(1).tolist()
        ]
    return _figures(chosen, labels, training, time.perf_counter() - began)


def _read(path: Path, given: argparse.Namespace) -> tuple[list[str], list[str]]:
    opened: Any = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        rows = [(row[given.text_column], row[given.label_column]) for row in csv.DictReader(file)]
    return [text for text, _ in rows], [label for _, label in rows]


def _figures(
    chosen: Sequence[str], labels: Sequence[str], training: float, seconds: float
) -> Figures:
    right = sum(one == other for one, other in zip(chosen, labels, strict=True))
    return {
        "accuracy": right / len(labels),
        "training": training,
        "throughput": len(labels) / seconds,
    }


KINDS: dict[str, Measured] = {
    OURS: _ngram,
    "fastText": _fasttext,
    "scikit-learn": _scikit_learn,
    "PyTorch": _pytorch,
}


if __name__ == "__main__":
    sys.exit(main())
