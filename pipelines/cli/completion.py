"""`claimflow completion`: what makes a shell complete commands and options."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print what makes a shell complete commands and options with the tab key.

    Put the line for your shell where the shell reads it at its start: ~/.bashrc, ~/.zshrc (after
    compinit), or ~/.config/fish/config.fish.

    \b
    Example:
      eval "$(claimflow completion bash)"
      eval "$(claimflow completion zsh)"
      claimflow completion fish | source
    """
    from click.shell_completion import get_completion_class

    from pipelines.cli import claimflow

    made = get_completion_class(shell)
    assert made is not None  # the choices are click's own
    click.echo(made(claimflow, {}, "claimflow", "_CLAIMFLOW_COMPLETE").source())
