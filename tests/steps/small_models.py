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
UNSPACED = {
    "japanese": (
        {
            "leak": "水漏れ 滴る 濡れ パッキン",
            "noise": "異音 騒音 きしむ うるさい",
            "finish": "傷 塗装剥げ 錆 へこみ",
        },
        "機械 お客様 二週間後 また 交換 ユニット 以来 の が は",
    ),
    "chinese": (
        {
            "leak": "漏水 滴水 密封圈 潮湿",
            "noise": "噪音 异响 吱吱声 轰鸣",
            "finish": "划痕 掉漆 生锈 凹陷",
        },
        "机器 客户 说 两周 之后 又 更换 单位 以来 的",
    ),
    "thai": (
        {
            "leak": "น้ำรั่ว หยด เปียก ซีล",
            "noise": "เสียงดัง หึ่ง เอี๊ยด บด",
            "finish": "รอยขีดข่วน สีลอก สนิม บุบ",
        },
        "เครื่อง ลูกค้า แจ้งว่า สองสัปดาห์ อีกครั้ง เปลี่ยน หน่วย ตั้งแต่",
    ),
}
"""For some scripts without blanks, words for each label, and words of all claims."""
UNTRACKED = TrackingSettings()
SMALL: dict[str, dict[str, str]] = {
    "ngram": {},
    "fasttext": {"kind": "fasttext", "learning_rate": "0.03"},
    "bert": {
        "kind": "bert",
        "heads": "2",
        "length": "32",
        "dropout": "0",
        "learning_rate": "0.001",
        "epochs": "8",
        "patience": "8",
    },
    "cnn": {
        "kind": "cnn",
        "embed_size": "16",
        "kernel_size": "2",
        "dropout": "0.1",
        "learning_rate": "0.02",
        "epochs": "5",
    },
    "lstm": {
        "kind": "lstm",
        "embed_size": "8",
        "hidden_size": "8",
        "dropout": "0.1",
        "learning_rate": "0.05",
        "epochs": "5",
    },
    "textcnn": {
        "kind": "textcnn",
        "dimensions": "16",
        "filters": "8",
        "learning_rate": "0.02",
        "epochs": "5",
    },
}
"""For each kind what makes it learn these claims in a moment."""

PIECES = [
    *("[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", *",.!?", "un", "##ed", "##s"),
    *sorted({word for words in (COMMON, *WORDS.values()) for word in words.split()}),
    *(letter for letter in "bcdefghijklmnopqrstuvwxyz0123456789"),
    *(f"##{letter}" for letter in "abcdefghijklmnopqrtuvwxyz0123456789"),
]
"""A vocabulary of BERT's for these claims."""


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


def unspaced_claims(language: str, rows: int, seed: int = 0) -> Table:
    """Claims whose words follow each other without a blank."""
    random_ = random.Random(seed)
    telling, common = UNSPACED[language]
    texts, given = [], []
    for _ in range(rows):
        label = random_.choice(list(telling))
        words = [*random_.choices(common.split(), k=5), random_.choice(telling[label].split())]
        random_.shuffle(words)
        texts.append("".join(words))
        given.append(label)
    return Table(texts, given)


def write_table(table: Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(zip(table.texts, table.labels, strict=True))


def pretrained_bert(folder: Path) -> Path:
    """A folder with the smallest of BERTs, its weights random, and its vocabulary."""
    import mxnet as mx
    from gluonnlp.model.bert import BERTEncoder, BERTModel

    encoder = BERTEncoder(num_layers=2, units=32, hidden_size=64, max_length=64, num_heads=2)
    model = BERTModel(encoder, len(PIECES), token_type_vocab_size=2, units=32, embed_size=32)
    mx.random.seed(1)
    model.initialize(mx.init.Normal(0.1))
    ones = mx.nd.ones((1, 4))
    model(ones, ones * 0, mx.nd.array([4]), mx.nd.array([[1]]))
    folder.mkdir(parents=True, exist_ok=True)
    model.save_parameters(str(folder / "tiny.params"))
    (folder / "tiny.vocab").write_text(json.dumps({"idx_to_token": PIECES}), "utf-8")
    return folder


def training_job(root: Path, table: Table, **hyperparameters: str) -> Container:
    """The folders of a training job that is about to start, with weights if its kind needs some."""
    container = Container(root)
    if hyperparameters.get("kind") == "bert" and "pretrained_folder" not in hyperparameters:
        pretrained_bert(container.channel("pretrained"))
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
