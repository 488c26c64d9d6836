"""The command line. Nothing heavy is imported before the command that needs it runs."""

from __future__ import annotations

import sys

import click

from pipelines.errors import UserError
from pipelines.plain_text import plain
from pipelines.terminal import colour

# What the exit codes mean.
FAILED, MISUSED, REJECTED, WAITING = 1, 2, 3, 4

_COMMANDS = {
    "demo": "demo",
    "local": "local",
    "pipeline": "pipeline",
    "retrain": "retrain",
    "train": "train",
    "tune": "tune",
    "model": "model",
    "predict": "predict",
    "explain": "explain",
    "predictions": "predictions",
    "desk": "desk",
    "trace": "trace",
    "report": "report",
    "logs": "logs",
    "data": "data",
    "deploy": "deploy",
    "doctor": "doctor",
    "images": "images",
    "destroy": "destroy",
    "completion": "completion",
}


class _Lazy(click.Group):
    """Loads the module of a command when the command is called, or its help is asked for."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        import importlib

        command: click.Command = importlib.import_module(f"pipelines.cli.{_COMMANDS[name]}").command
        return command

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(context, arguments)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(arguments[0], _COMMANDS, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"{error.message}{hint}", context) from None


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="claimflow")
def claimflow() -> None:
    """Classify claims: train, judge, approve and predict, on AWS or whole on this machine.

    \b
    Exit codes: 0 done, 1 failed, 2 wrong use or bad input,
    3 the model missed a bar, 4 waits for a model to be approved.
    """


def main() -> None:
    """The entry point: what a user did wrong is one line and exit code 2."""
    try:
        claimflow.main(standalone_mode=False, color=colour())
    except UserError as error:
        # It may name an object as a stranger has called it.
        print(f"error: {plain(' '.join(str(error).splitlines()))}", file=sys.stderr)
        sys.exit(MISUSED)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        sys.exit(1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror or error}", file=sys.stderr)
        sys.exit(MISUSED)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
