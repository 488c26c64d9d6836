"""What is expected of labelled claims, as Great Expectations on four tables: the training set, the
test set, a row for each class, a row for each claim.

Rows, texts and the overlap of both sets are judged on the merged training files; the classes on
what is left of them to learn from, without the claims of the test set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from great_expectations import expectations as gxe

from steps.table import Table, sort_labels
from steps.validation_settings import CHECKS, ValidationSettings

Figures = dict[str, Any]  # what an expectation observed


@dataclass(frozen=True)
class Check:
    """An expectation, and the sentence that tells people what it found and what is tolerated."""

    name: str
    expectation: gxe.Expectation
    sentence: Callable[[Figures], str]


class Suites:
    """The four tables and what is expected of each."""

    def __init__(
        self, settings: ValidationSettings, merged: Table, training: Table, test: Table
    ) -> None:
        """`training` is `merged` without the claims of the test set."""
        self._settings = settings
        self._training = self._frame(merged)
        self._test = self._frame(test)
        self._learnt = _cells(training.labels)
        self._can_name_labels = all(settings.are_labels(set_.labels) for set_ in (merged, test))

    def all(self) -> dict[str, tuple[pd.DataFrame, list[Check]]]:
        training = self._of_set("training set", self._training)
        return {
            "training": (self._training, training),
            "test": (self._test, self._of_set("test set", self._test)),
            "classes": self._of_classes(),
            "texts": self._of_texts(),
        }

    def _frame(self, table: Table) -> pd.DataFrame:
        """The columns by their names in the file; what is blank is null."""
        names = self._settings.text_column, self._settings.label_column
        return pd.DataFrame(dict(zip(names, map(_cells, (table.texts, table.labels)), strict=True)))

    def _check(
        self,
        name: str,
        expectation: Callable[..., gxe.Expectation],
        sentence: Callable[[Figures], str],
        **arguments: Any,
    ) -> Check:
        severity = "warning" if name in self._settings.warn_only else "critical"
        built = expectation(
            **arguments, severity=severity, description=CHECKS[name], meta={"check": name}
        )
        return Check(name, built, sentence)

    def _of_set(self, name: str, frame: pd.DataFrame) -> list[Check]:
        settings = self._settings
        text, label = settings.text_column, settings.label_column
        missing = settings.max_missing

        def some(what: str, tolerated: float) -> Callable[[Figures], str]:
            return lambda figures: f"{name} has {_of(figures)} {what}, {_at_most(tolerated)}"

        return [
            self._check(
                "columns",
                gxe.ExpectTableColumnsToMatchSet,
                lambda _: f'{name} has the columns "{text}" and "{label}"',
                column_set=[text, label],
            ),
            self._check(
                "text_present",
                gxe.ExpectColumnValuesToNotBeNull,
                some(f"rows without a text{_first(frame[text].isna())}", missing),
                column=text,
                mostly=1 - missing,
            ),
            self._check(
                "text_type",
                gxe.ExpectColumnValuesToMatchRegex,
                some(f'texts without a letter in the column "{text}"', settings.max_wordless),
                column=text,
                regex=r"[^\W\d_]",
                mostly=1 - settings.max_wordless,
            ),
            self._check(
                "text_length",
                gxe.ExpectColumnValueLengthsToBeBetween,
                some(
                    f"texts shorter than {settings.min_length:,} or longer than "
                    f"{settings.max_length:,} characters",
                    0,
                ),
                column=text,
                min_value=settings.min_length,
                max_value=settings.max_length,
            ),
            self._check(
                "label_present",
                gxe.ExpectColumnValuesToNotBeNull,
                some(f"rows without a label{_first(frame[label].isna())}", missing),
                column=label,
                mostly=1 - missing,
            ),
            self._check(
                "label_type",
                gxe.ExpectColumnValueLengthsToBeBetween,
                some(
                    f"labels longer than {settings.max_label_length:,} characters "
                    f'in the column "{label}"',
                    0,
                ),
                column=label,
                max_value=settings.max_label_length,
            ),
            self._check(
                "duplicates",
                gxe.ExpectColumnValuesToBeUnique,
                some("rows whose text it has more than once", settings.max_duplicates),
                column=text,
                mostly=1 - settings.max_duplicates,
            ),
        ]

    def _of_classes(self) -> tuple[pd.DataFrame, list[Check]]:
        """A row for each label of either set: its rows there, null where it has none."""
        settings = self._settings
        training, test = (
            labels.value_counts() for labels in (self._learnt, self._test[settings.label_column])
        )
        classes = pd.DataFrame({"training_rows": training, "test_rows": test}, dtype=float)
        classes = classes.reindex(sort_labels(classes.index))
        is_learnt = classes["training_rows"].notna()
        classes["learnt"] = is_learnt.cumsum().where(is_learnt)  # a number for each, to be counted
        shares = classes.fillna(0) / classes.sum().clip(lower=1)
        # Half the sum over all classes is the total variation distance.
        classes["half_difference"] = (shares["training_rows"] - shares["test_rows"]).abs() / 2
        unknown = classes.index[classes["training_rows"].isna()]
        untested = classes.index[classes["test_rows"].isna()]

        def label_count(figures: Figures) -> str:
            labels = _count(figures["observed_value"], "label")
            most = settings.max_labels
            return f"training set has {labels}, at least 2 and at most {most:,} are needed"

        def balance(figures: Figures) -> str:
            distance = _percent(figures["observed_value"])
            return (
                f"the classes' shares in the test set are {distance} away from those in training, "
                + _at_most(settings.max_imbalance)
            )

        return classes, [
            self._check(
                "label_count",
                gxe.ExpectColumnUniqueValueCountToBeBetween,
                label_count,
                column="learnt",
                min_value=2,
                max_value=settings.max_labels,
            ),
            self._check(
                "rows_per_class",
                gxe.ExpectColumnValuesToBeBetween,
                lambda _: self._rows_per_class(classes["training_rows"]),
                column="training_rows",
                min_value=settings.min_rows_per_class,
            ),
            self._check(
                "labels_known",
                gxe.ExpectColumnValuesToNotBeNull,
                lambda _: (
                    f"test set has {self._labels(unknown)} that training never saw"
                    + self._in_brackets(unknown)
                ),
                column="training_rows",
            ),
            self._check(
                "labels_tested",
                gxe.ExpectColumnValuesToNotBeNull,
                lambda _: (
                    f"training set has {self._labels(untested)} that the test set lacks"
                    + self._in_brackets(untested)
                ),
                column="test_rows",
            ),
            self._check(
                "class_balance",
                gxe.ExpectColumnSumToBeBetween,
                balance,
                column="half_difference",
                max_value=settings.max_imbalance,
            ),
        ]

    def _of_texts(self) -> tuple[pd.DataFrame, list[Check]]:
        """A row for each claim of both sets, without its text."""
        settings = self._settings
        both = pd.concat(
            [
                frame.set_axis(["text", "label"], axis="columns").assign(in_test=in_test)
                for frame, in_test in ((self._training, False), (self._test, True))
            ]
        )
        groups = both.groupby(both["text"].str.strip(), sort=False)  # as in steps/merge.py
        test_rows = groups["in_test"].sum()
        training_rows = groups["in_test"].count() - test_rows
        texts = pd.DataFrame(
            {
                "labels": groups["label"].nunique().to_numpy(),
                # Null, so not judged, for texts that the test set does not have.
                "rows_in_training": training_rows.where(test_rows > 0).to_numpy(dtype=float),
            }
        )

        def contradictions(figures: Figures) -> str:
            return f"{_of(figures)} texts of both sets have more than one label, " + _at_most(
                settings.max_contradictions
            )

        def overlap(figures: Figures) -> str:
            return f"test set has {_of(figures)} texts that training has, too, " + _at_most(
                settings.max_overlap
            )

        return texts, [
            self._check(
                "contradictions",
                gxe.ExpectColumnValuesToBeBetween,
                contradictions,
                column="labels",
                max_value=1,
                mostly=1 - settings.max_contradictions,
            ),
            self._check(
                "overlap",
                gxe.ExpectColumnValuesToBeBetween,
                overlap,
                column="rows_in_training",
                max_value=0,
                mostly=1 - settings.max_overlap,
            ),
        ]

    def _rows_per_class(self, rows: pd.Series) -> str:
        needed = self._settings.min_rows_per_class
        few = rows[rows < needed]
        which = "the smallest class"
        if len(few) == 1:
            which = f'class "{self._names(few.index)}"' if self._can_name_labels else "one class"
        elif len(few) > 1:
            which = f"the smallest of {len(few):,} too small classes{self._in_brackets(few.index)}"
        least = int(rows.min()) if rows.notna().any() else 0
        leaks = len(self._training) - len(self._learnt)
        counted = f"in training{', without the claims of the test set' if leaks else ''}"
        return f"{which} has {_count(least, 'row')} {counted}, at least {needed:,} are needed"

    def _labels(self, labels: pd.Index) -> str:
        return _count(len(labels), "label") if len(labels) else "no label"

    def _in_brackets(self, labels: pd.Index) -> str:
        return f" ({self._names(labels)})" if len(labels) and self._can_name_labels else ""

    def _names(self, labels: pd.Index) -> str:
        shown = [label if label.isprintable() else ascii(label) for label in labels[:5]]
        return ", ".join(shown) + (f" and {len(labels) - 5:,} more" if len(labels) > 5 else "")


def _cells(cells: Sequence[str]) -> pd.Series:
    """A column; what is blank is null."""
    return pd.Series([cell if cell.strip() else None for cell in cells], dtype=object)


def _of(figures: Figures) -> str:
    judged = figures["element_count"] - figures.get("missing_count", 0)
    return f"{figures['unexpected_count']:,} of {judged:,}"


def _at_most(share: float) -> str:
    return f"at most {_percent(share)} tolerated" if share else "none tolerated"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def _first(rows: pd.Series) -> str:
    """Where to look: rows are counted from 1, the header not counted."""
    return f" (the first is row {rows.to_numpy().argmax() + 1:,})" if rows.any() else ""
