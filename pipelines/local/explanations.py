"""Explanations with the models of a deployment: the one that was asked last is kept here."""

from __future__ import annotations

import hashlib
import shutil
import threading

from pipelines.aws import Aws
from pipelines.explanation import Explanation
from pipelines.local.explain_here import Explainer
from pipelines.registry.models import Models, ModelVersion
from pipelines.state_folder import private


class Explanations:
    """Explains with the model that is asked for, which stays warm until another one is, and is kept
    on this machine until then."""

    def __init__(self, place: Aws) -> None:
        self._place = place
        self._lock = threading.Lock()  # of who explains, which may take long
        self._changing = threading.Lock()  # of what is closed at the end
        self._explainer: Explainer | None = None
        self._model = ""
        self._is_closed = False

    def __enter__(self) -> Explanations:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever is under way, nothing is waited for."""
        with self._changing:
            self._is_closed = True
            if self._explainer:
                self._explainer.close()

    def __call__(self, model: ModelVersion, text: str) -> Explanation:
        """Why a version gives a text its label. Raises UserError if it cannot."""
        name = _cache_name(model)
        with self._lock:
            if self._explainer is None or self._model != name:
                self._use(self._started(model.version, name), name)
            assert self._explainer is not None
            return self._explainer.explain(text)

    def _started(self, version: int, name: str) -> Explainer:
        """The model is fetched once: an artifact never changes under its version."""
        settings = self._place.settings
        models = private(settings.state) / "desk" / settings.prefix
        folder = models / name
        if not (folder / "model.tar.gz").exists():
            Models(self._place).fetch(version, folder)
        explainer = Explainer(settings, folder)
        for other in models.iterdir():
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
        return explainer

    def _use(self, explainer: Explainer, name: str) -> None:
        with self._changing:
            before, self._explainer, self._model = self._explainer, explainer, name
            if before:
                before.close()
            if self._is_closed:
                explainer.close()


def _cache_name(model: ModelVersion) -> str:
    """Where a deployment was destroyed and made anew, its version 1 has the ARN of the old one."""
    told = f"{model.arn} {model.created.isoformat()}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]
