"""Files of labelled claims made one training set.

The same claim is the same text, without regard to blanks around it. A row without a text is no
claim that another row could repeat, and one without a label says nothing against an earlier one.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from itertools import compress

from steps.table import Table, joined


def merge(files: Sequence[Table]) -> Table:
    """The rows of all files, but those whose claim a later file labels again.

    Files and rows keep their order. Within one file nothing is merged: what stands in it twice was
    written by one hand, and the validation judges it.
    """
    kept: list[Table] = []
    later: set[str] = set()
    for number in reversed(range(len(files))):
        kept.append(_without(files[number], later))
        if number:
            later.update(map(str.strip, files[number].complete().texts))
    return joined(kept[::-1])


def without_texts_of(table: Table, other: Table) -> Table:
    """The rows whose claim is not in the other table: a test set that leaks into training measures
    memory."""
    return _without(table, set(map(str.strip, other.texts)))


def _without(table: Table, claims: Set[str]) -> Table:
    stays = [not (claim := text.strip()) or claim not in claims for text in table.texts]
    return Table(list(compress(table.texts, stays)), list(compress(table.labels, stays)))
