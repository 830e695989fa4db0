"""The program `crossray`: its commands, declared by topic, each with its options.

What a command does stands in `crossray.app.commands` and is imported when it runs. Help must come at once, so nothing
here imports torch, numpy or matplotlib.
"""

import sys
from typing import Annotated

import typer

from crossray.app.cli import films, learning, tables, volumes
from crossray.app.running import run_program

_SETTINGS = {
    "add_completion": False,
    "no_args_is_help": True,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}

app = typer.Typer(
    name="crossray",
    help="Finds what matches what between two or more radiographs of the same limb.",
    context_settings={"help_option_names": ["-h", "--help"]},
    **_SETTINGS,
)


def _version(asked: bool) -> bool:
    if asked:
        from crossray import __version__

        print(f"crossray {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def crossray(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Finds what matches what between two or more radiographs of the same limb."""


def doctor() -> None:
    """Say whether everything crossray needs is there and works."""
    from crossray.app.commands.doctor import doctor

    raise typer.Exit(doctor())


_COMMANDS = (
    *(volumes.demo, films.match, films.view, films.classify, films.link),
    *(volumes.inspect, volumes.render, volumes.fracture, volumes.generate, volumes.verify),
    *(learning.calibrate, doctor),
)
_GROUPS = {
    "train": ("Train a network on views rendered from CT, or on studies.", learning.TRAIN),
    "finetune": ("Fit weights to real films with labels.", learning.FINETUNE),
    "evaluate": ("Score weights on people they were not trained on.", learning.EVALUATE),
    "reproduce": ("Make a table of the paper again, beside ours.", tables.REPRODUCE),
}

for command in _COMMANDS:  # in the order in which help lists them
    app.command(command.__name__)(command)
for name, (text, commands) in _GROUPS.items():
    group = typer.Typer(help=text, **_SETTINGS)
    app.add_typer(group, name=name)
    for word, command in commands.items():
        group.command(word)(command)


def main() -> None:
    """The program `crossray`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; see `crossray.app.running`."""
    return run_program(app, arguments)
