"""`engine completion`."""

from __future__ import annotations

import os

import click
from click.shell_completion import get_completion_class

from engine.cli import say
from engine.cli.options.commands import EngineCommand
from engine.errors import Exit, UsageError

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_ENGINE_COMPLETE"  # as click makes it of the program's name


@click.command("completion", cls=EngineCommand)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def command(shell: str | None) -> int:
    """Print the script with which a shell completes commands and options; without SHELL, for the one in $SHELL.

    \b
      bash  eval "$(engine completion bash)"    in ~/.bashrc
      zsh   eval "$(engine completion zsh)"     in ~/.zshrc
      fish  engine completion fish > ~/.config/fish/completions/engine.fish
    """
    name = shell or os.path.basename(os.environ.get("SHELL", ""))
    made = get_completion_class(name) if name in SHELLS else None
    if made is None:
        raise UsageError(f"for which shell? `engine completion {'|'.join(SHELLS)}`")
    from engine.cli import group

    click.echo(made(group, {}, "engine", _VARIABLE).source())
    if not shell:
        say(f"this is for {name}; `engine completion --help` says where it goes")
    return Exit.OK
