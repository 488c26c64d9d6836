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

    from pipelines.desk.security import Secrets

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
    from pipelines.local.explanations import Explanations
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
