"""The settings of the validation, from its arguments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import NoReturn

from steps.errors import InputError

# Every check by name, and what it judges. `readable` is the reader's, the others are expectations.
CHECKS = {
    "readable": "the files are CSV with these columns",
    "columns": "the table has a column of texts and one of labels",
    "text_present": "every row has a text",
    "text_type": "texts are words, not numbers",
    "text_length": "texts are neither too short nor too long",
    "label_present": "every row has a label",
    "label_type": "labels are short names, not texts",
    "label_count": "there are at least two labels, and not as many as texts",
    "rows_per_class": "every class has enough rows to learn from",
    "labels_known": "the test set has no labels that training never saw",
    "labels_tested": "every class of the training set is in the test set",
    "class_balance": "classes are as frequent in the test set as in training",
    "duplicates": "few texts are there more than once",
    "contradictions": "few texts have several labels",
    "overlap": "few texts of the test set are in the training set",
}


@dataclass(frozen=True)
class ValidationSettings:
    """What the validation tolerates. Shares are between 0 and 1; lengths are in characters."""

    text_column: str = field(default="text", metadata={"help": "column of the texts"})
    label_column: str = field(default="label", metadata={"help": "column of the labels"})
    warn_only: tuple[str, ...] = field(
        default=("text_length", "labels_tested", "class_balance", "duplicates", "contradictions"),
        metadata={"help": "checks that only warn, separated by commas; all others block"},
    )
    max_missing: float = field(default=0.0, metadata={"help": "share of rows without it"})
    max_wordless: float = field(default=0.05, metadata={"help": "share of texts without a letter"})
    min_length: int = field(default=3, metadata={"help": "shortest text"})
    max_length: int = field(default=20_000, metadata={"help": "longest text"})
    max_label_length: int = field(default=100, metadata={"help": "longest label"})
    max_labels: int = field(default=1_000, metadata={"help": "number of labels at most"})
    min_rows_per_class: int = field(default=2, metadata={"help": "rows of each class in training"})
    max_imbalance: float = field(
        default=0.1,
        metadata={"help": "total variation distance between the classes' shares in both sets"},
    )
    max_duplicates: float = field(
        default=0.05, metadata={"help": "share of rows with a repeated text"}
    )
    max_contradictions: float = field(
        default=0.01, metadata={"help": "share of texts with several labels"}
    )
    max_overlap: float = field(
        default=0.1, metadata={"help": "share of the test set's texts that are in training, too"}
    )

    def __post_init__(self) -> None:
        for name in self.warn_only:
            if name not in CHECKS or name == "readable":
                known = [check for check in CHECKS if check != "readable"]
                near = get_close_matches(name, known, n=1)
                hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(known)}"
                raise InputError(f'--warn-only: there is no check "{name}"; {hint}')
        for setting in fields(self):
            value = getattr(self, setting.name)
            if isinstance(value, float) and not 0 <= value <= 1:
                raise InputError(f"{_option(setting.name)} is {value}: expected between 0 and 1")
            if isinstance(value, int) and value < 1:
                raise InputError(f"{_option(setting.name)} is {value}: expected at least 1")

    def are_labels(self, labels: Sequence[str]) -> bool:
        """Whether a column's values can be labels. Where they cannot, they are named nowhere: in a
        wrong column they may be the texts of claims."""
        distinct = set(labels)
        return len(distinct) <= min(self.max_labels, max(10, len(labels) // 2)) and all(
            len(label) <= self.max_label_length for label in distinct
        )

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> ValidationSettings:
        """The settings that the command line names, the others at their defaults.

        Raises
        ------
        InputError
            When an option or its value is wrong.
        """
        parser = _Parser(prog="validate", allow_abbrev=False, description="Judges labelled claims.")
        for setting in fields(cls):
            default = setting.default
            parser.add_argument(
                _option(setting.name),
                type=_names if isinstance(default, tuple) else type(default),
                default=default,
                help=f"{setting.metadata['help']} (default: {_written(default)})",
            )
        return cls(**vars(parser.parse_args(arguments)))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"validate: {message}")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _written(default: object) -> str:
    return ",".join(default) if isinstance(default, tuple) else str(default)
