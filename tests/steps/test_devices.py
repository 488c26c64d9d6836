"""A training on several devices, which are several contexts of the CPU here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from steps import artifact, descent
from steps.descent import Epoch, Split
from steps.train import train
from tests.steps.small_models import SMALL, UNTRACKED, claims, trained, training_job
from tests.steps.test_descent import EVERY, learnt, plain_descent, task

FOUR = [mx.cpu(number) for number in range(4)]
# Chance falls differently on other devices; Adam makes rounding visible where a gradient is none.
EXACT = {kind: given | {"epochs": "2", "learning_rate": "0.003"} for kind, given in SMALL.items()}
for kind in ("bert", "cnn", "lstm", "textcnn"):
    EXACT[kind]["dropout"] = "0"
Use = Callable[[list[Any]], None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    return lambda contexts: monkeypatch.setattr(descent, "devices", lambda: contexts)


def parameters(model: Path) -> dict[str, Any]:
    stored = mx.nd.load(str(model / artifact.PARAMS))
    return {name: array.asnumpy() for name, array in stored.items()}


def assert_close(one: Path, other: Path) -> None:
    expected, made = parameters(one), parameters(other)
    assert expected.keys() == made.keys()
    for name, array in expected.items():
        assert np.allclose(array, made[name], rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize("kind", SMALL)
def test_four_devices_learn_what_one_learns(tmp_path: Path, use: Use, kind: str) -> None:
    # 270 rows are learnt from, in batches of 16: the last one has two rows less than devices.
    one = trained(tmp_path / "one", claims(300), **EXACT[kind])
    use(FOUR)
    assert_close(one, trained(tmp_path / "four", claims(300), **EXACT[kind]))


def test_a_batch_may_have_fewer_rows_than_there_are_devices(tmp_path: Path, use: Use) -> None:
    given = EXACT["lstm"] | {"batch_size": "2"}
    one = trained(tmp_path / "one", claims(40), **given)
    use(FOUR)
    assert_close(one, trained(tmp_path / "four", claims(40), **given))


@pytest.mark.parametrize("kind", ["ngram", "textcnn", "lstm"])
def test_a_resumed_run_on_several_devices_ends_as_an_uninterrupted_one(
    tmp_path: Path, use: Use, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import steps.train

    use(FOUR[:2])
    given = SMALL[kind] | {"epochs": "3", "patience": "3"}
    whole = trained(tmp_path / "whole", claims(200), **given)
    job = training_job(tmp_path / "cut", claims(200), **given)
    job.checkpoints.mkdir()

    def interrupted(epoch: Epoch, _run: object) -> None:
        if epoch.number == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(steps.train, "_report", interrupted)
        train(job, UNTRACKED)
    train(job, UNTRACKED)
    expected, made = parameters(whole), parameters(job.model)
    assert all(np.array_equal(expected[name], made[name]) for name in expected)


def test_every_device_is_left_with_the_best_parameters(use: Use) -> None:
    use(FOUR)
    made = task(clip=0.01)
    learnt(made, Split(EVERY[:150], EVERY[150:]), epochs=4, patience=4, monitor="macro_f1")
    for parameter in made.network.collect_params().values():
        first, *others = [array.asnumpy() for array in parameter.list_data()]
        assert len(others) == 3
        assert all(np.array_equal(first, other) for other in others)


def test_gradients_of_all_devices_together_are_no_longer_than_the_clip(use: Use) -> None:
    given: dict[str, Any] = {"batch_size": 50, "learning_rate": 1.0, "epochs": 2}
    clipping = {"optimizer": plain_descent, "clip": 0.05}
    one, _ = learnt(task(**clipping), **given)
    use(FOUR)
    four, _ = learnt(task(**clipping), **given)
    assert np.linalg.norm(one) <= 8 * 0.05 + 1e-6
    assert np.allclose(one, four, atol=1e-6)
