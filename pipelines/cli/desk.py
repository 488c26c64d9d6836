"""`claimflow desk`."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import click

from pipelines.cli.places import stage_option

if TYPE_CHECKING:
    import socket

    import uvicorn

    from pipelines.aws import Aws
    from pipelines.desk.security import Secrets
    from pipelines.explanation import Explanation
    from pipelines.local.explain_here import Explainer
    from pipelines.registry.models import ModelVersion

PORT = 8642


@click.command("desk")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="On 127.0.0.1; 0 is any that is free.",
)
@click.option("--browser/--no-browser", default=True, help="Open it, on a terminal.")
@stage_option
def command(port: int, browser: bool, stage: str | None) -> None:
    """Serve a small page for the claims team and the data team, on this machine only.

    Files of claims and what became of them, runs, models and the decisions on them, and a box to
    try one claim. The printed address holds a token: who has it may do what you may.

    \b
    Example:
      claimflow desk
      claimflow desk --port 0 --no-browser
    """
    import logging
    import secrets

    import uvicorn

    from pipelines.aws import Aws
    from pipelines.desk.app import create_app
    from pipelines.settings import Settings

    place = Aws(Settings.load(stage=stage))
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("claimflow.desk").setLevel(logging.INFO)
    token = secrets.token_urlsafe(32)
    with _listening(port) as listener, Explanations(place) as explanations:
        app = create_app(place, token, explanations)
        config = uvicorn.Config(
            app,
            access_log=False,  # it would show the token, and names
            log_level="warning",
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=3,
        )
        server = uvicorn.Server(config)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/?token="
        click.echo(address + token)
        click.echo("the desk is open: Ctrl-C closes it", err=True)
        if browser and sys.stdout.isatty():
            secret = app.state.desk.secrets
            threading.Thread(target=_browse, args=(server, address, secret), daemon=True).start()
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            click.echo("the desk is closed", err=True)


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
        import shutil

        from pipelines.local.explain_here import Explainer
        from pipelines.registry.models import Models
        from pipelines.state_folder import private

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
    import hashlib

    told = f"{model.arn} {model.created.isoformat()}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _browse(server: uvicorn.Server, address: str, secret: Secrets) -> None:
    """Opens a browser, which may hold its thread until it ends, as those in a terminal do."""
    import time
    import webbrowser

    while not server.started:
        time.sleep(0.05)
    webbrowser.open(address + secret.ticket())


def _listening(port: int) -> socket.socket:
    """A socket of this machine alone, open before the address is told."""
    import errno
    import socket

    from pipelines.errors import UserError

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        is_taken = error.errno == errno.EADDRINUSE
        told = "is taken" if is_taken else f"cannot be used ({error.strerror})"
        raise UserError(
            f"Port {port} {told}: give another one with --port, or 0 for any that is free"
        ) from None
    return listener
