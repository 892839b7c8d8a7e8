"""`partita completion`: the script that lets a shell complete commands, options and assets."""

from __future__ import annotations

import click

from cli.commands.options import PartitaCommand, settings_of
from cli.render.report import Output, Report

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", cls=PartitaCommand)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the completion script of a shell.

    Asset names come from the last time the project was loaded; completing imports none of your modules.

    \b
    bash: partita completion bash > \\
            ~/.local/share/bash-completion/completions/partita
    zsh:  partita completion zsh > ~/.partita.zsh, and source that in ~/.zshrc
    fish: partita completion fish > ~/.config/fish/completions/partita.fish
    """  # noqa: D301 - the backspace is click's mark for lines that stay as they are
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(ctx.find_root().command, {}, "partita", "_PARTITA_COMPLETE").source()
    data = {"shell": shell, "script": script}
    printer = settings_of(ctx).printer()
    if printer.output is Output.TABLE:
        printer.text(script)
    else:
        printer.report(Report("completion", data, [data], []))
    return 0
