"""Explains one text after the other with a model: JSON lines in, JSON lines out.

The first line out says that the model is there (`{}`) or why not (`{"error": …}`); then each line
in, `{"text": …}`, is answered by the fields of `steps.explanation.Explanation`. It ends with its
input. The texts leave it by no other way.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from steps.classifier import Classifier
from steps.errors import InputError
from steps.explanation import explain


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 if the model cannot be used."""
    parser = argparse.ArgumentParser("explain", description=__doc__)
    parser.add_argument(
        "--model", type=Path, required=True, help="a folder with model.tar.gz, or what that holds"
    )
    given = parser.parse_args(argv)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer

    def answer(document: object) -> None:
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    try:
        classifier = Classifier.load_either(given.model)
    except InputError as error:
        answer({"error": str(error)})
        return 2
    answer({})
    for line in sys.stdin:
        answer(dataclasses.asdict(explain(classifier, json.loads(line)["text"])))
    return 0
