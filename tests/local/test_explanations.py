"""The model that explains: which one is kept, and that none outlives the desk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from pipelines.aws import Aws
from pipelines.errors import UserError
from pipelines.local import explanations
from pipelines.local.explanations import Explanations
from pipelines.registry.models import Models, ModelVersion
from pipelines.settings import Settings

MODEL = ModelVersion(1, "arn:model/1", "Approved", datetime(2026, 1, 1, tzinfo=timezone.utc))
SETTINGS = Settings(account="123456789012", region="eu-west-1")


class Explainer:
    """Stands for the process that explains: what it says is the content of its archive."""

    made: list[Explainer]
    may_start: threading.Event

    def __init__(self, _settings: Settings, folder: Path) -> None:
        assert self.may_start.wait(10)
        self._said = (folder / "model.tar.gz").read_text("utf-8")
        self.is_closed = False
        self.made.append(self)

    def explain(self, text: str) -> str:
        if self.is_closed:
            raise UserError("closed")
        return f"{self._said}: {text}"

    def close(self) -> None:
        self.is_closed = True


class Place(Aws):
    """A deployment that nobody asks for anything but its settings."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings = settings


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(SETTINGS.model_copy(update={"state": tmp_path}))


@pytest.fixture(autouse=True)
def fetched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The versions that were fetched; the archive tells the how manieth it is."""
    fetched: list[int] = []

    def fetch(_self: Models, version: int, folder: Path) -> Path:
        fetched.append(version)
        folder.mkdir(parents=True)
        path = folder / "model.tar.gz"
        path.write_text(f"archive {len(fetched)}", "utf-8")
        return path

    monkeypatch.setattr(Models, "__init__", lambda _self, _aws: None)
    monkeypatch.setattr(Models, "fetch", fetch)
    monkeypatch.setattr(explanations, "Explainer", Explainer)
    Explainer.made, Explainer.may_start = [], threading.Event()
    Explainer.may_start.set()
    yield fetched


def test_a_model_is_fetched_once(place: Place, fetched: list[int]) -> None:
    for _ in range(2):
        with Explanations(place) as explain:
            assert str(explain(MODEL, "smoke")) == "archive 1: smoke"
            assert str(explain(MODEL, "leak")) == "archive 1: leak"
    assert fetched == [1]
    assert len(Explainer.made) == 2


def test_the_first_version_of_a_new_deployment_is_not_that_of_the_old_one(place: Place) -> None:
    anew = replace(MODEL, created=MODEL.created + timedelta(hours=1))
    with Explanations(place) as explain:
        explain(MODEL, "smoke")
        assert str(explain(anew, "smoke")) == "archive 2: smoke"
    assert [one.is_closed for one in Explainer.made] == [True, True]


def test_only_the_model_of_now_is_kept(place: Place) -> None:
    with Explanations(place) as explain:
        for version in (1, 2, 3):
            explain(replace(MODEL, version=version, arn=f"arn:model/{version}"), "smoke")
    assert len(list(place.settings.state.rglob("model.tar.gz"))) == 1


def test_a_model_that_is_being_started_does_not_outlive_the_desk(place: Place) -> None:
    Explainer.may_start.clear()
    with ThreadPoolExecutor(1) as pool:
        with Explanations(place) as explain:
            asked = pool.submit(explain, MODEL, "smoke")
        Explainer.may_start.set()
        with pytest.raises(UserError):
            asked.result()
    assert [one.is_closed for one in Explainer.made] == [True]
