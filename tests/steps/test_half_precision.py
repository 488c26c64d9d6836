"""What of float16 can be tried without a GPU: all but its arithmetic."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mxnet.contrib.amp import amp
from mxnet.contrib.amp.loss_scaler import LossScaler

from steps.checkpoints import Checkpoints
from steps.container import Stopped
from steps.descent import Split, Task, descend
from steps.models.ngram import NgramHyperparameters
from steps.network import value
from tests.steps.test_descent import EVERY, drawing, same_parameters, task

ROOT = Path(__file__).parents[2]
SPLIT = Split(EVERY[:100], EVERY[100:])

# Each network in float16, as far as the types of all its operations and parameters.
TYPES = """
import sys
import mxnet as mx
from mxnet.contrib import amp
amp.init()
from steps.models.cnn import Cnn
from steps.models.lstm import Lstm, LstmHyperparameters
from steps.models.textcnn import TextCnn, TextCnnHyperparameters

network = {
    "Cnn": lambda: Cnn(50, 16, 4, 0.5, 3),
    "Lstm": lambda: Lstm(50, LstmHyperparameters(kind="lstm", n_layers=2), 3),
    "TextCnn": lambda: TextCnn(50, 16, TextCnnHyperparameters(kind="textcnn"), 3),
}[sys.argv[1]]()
given, made, _ = network(mx.sym.var("x")).infer_type(x="float32")
print({kind.__name__ for kind in given}, [kind.__name__ for kind in made])
"""


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss scaling without float16, for which a CPU has no kernels."""
    monkeypatch.setattr(amp, "_amp_initialized", True)
    monkeypatch.setattr(amp, "_amp_loss_scale_initialized", False)
    monkeypatch.setattr(amp, "_loss_scaler", LossScaler())


def scaler(scale: float) -> LossScaler:
    made = LossScaler()
    made._loss_scale = made._next_loss_scale = scale
    return made


def learn(made: Task, **given: Any) -> Task:
    settings = NgramHyperparameters(epochs=3, learning_rate=0.1, batch_size=20, patience=3)
    descend(made, SPLIT, settings, lambda _: None, **given)
    return made


@pytest.mark.usefixtures("scaling")
def test_the_scale_of_the_loss_changes_nothing() -> None:
    plain, scaled = task(network=drawing()), task(network=drawing(), half=True)
    assert same_parameters(learn(plain), learn(scaled))


@pytest.mark.usefixtures("scaling")
def test_steps_whose_gradients_overflow_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 15 steps the first 12 overflow, each of which halves the scale."""
    monkeypatch.setattr(amp, "_loss_scaler", scaler(2.0**140))
    plain, scaled = task(network=drawing()), task(network=drawing(), half=True)
    learn(scaled)
    found = [value(each).asnumpy() for each in scaled.network.collect_params().values()]
    assert all(np.isfinite(array).all() for array in found)
    assert not same_parameters(scaled, plain)
    assert not same_parameters(scaled, learn(plain))


@pytest.mark.usefixtures("scaling")
@pytest.mark.parametrize("asked", [3, 14, 17])
def test_a_run_that_was_stopped_goes_on_with_its_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int
) -> None:
    whole, cut, resumed = (task(network=drawing(), half=True) for _ in range(3))
    answers = iter([False] * (asked - 1) + [True])
    checkpoints = Checkpoints(tmp_path, "f" * 64)
    for made in (whole, cut, resumed):
        monkeypatch.setattr(amp, "_amp_loss_scale_initialized", False)
        monkeypatch.setattr(amp, "_loss_scaler", scaler(2.0**140))
        if made is whole:
            learn(made)
        elif made is cut:
            with pytest.raises(Stopped):
                learn(made, checkpoints=checkpoints, stopping=lambda: next(answers))
        else:
            learn(made, checkpoints=checkpoints)
    assert same_parameters(resumed, whole)


@pytest.mark.parametrize("kind", ["Cnn", "Lstm", "TextCnn"])
def test_every_operation_takes_its_types_in_float16(kind: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", TYPES, kind], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "{'float32'} ['float16']\n"
