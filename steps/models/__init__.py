"""The kinds of model, one file each.

A kind is a module here with

- `HYPERPARAMETERS`: a subclass of `steps.hyperparameters.Hyperparameters` with its own,
- `prepare(examples, settings)`: the `steps.descent.Task` of training it on `Examples`,

its name in `KINDS`, and in `steps.inputs` how prediction sees texts: prediction runs the exported
network and imports no kind.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

KINDS = ("bert", "cnn", "fasttext", "lstm", "ngram", "textcnn")


def module(kind: str) -> ModuleType:
    """The module of a kind. Importing it takes MXNet's seconds."""
    return import_module(f"steps.models.{kind}")
