"""How the program ends: an exit code, and one sentence on stderr where something went wrong."""

import os
import sys

import typer

from crossray.errors import InputError

TRACEBACK = "CROSSRAY_TRACEBACK"
"""Set to 1 in the environment, it shows the traceback of an error nobody foresaw."""


def run_program(app: typer.Typer, arguments: list[str]) -> int:
    """Run one command line.

    Args:
        app: The program.
        arguments: Its words.

    Returns:
        The exit code: 0, 2 for bad input or usage, 130 when interrupted, 1 for an error nobody foresaw. Whatever
        went wrong is said in one sentence on stderr.
    """
    try:
        code = app(args=arguments, prog_name="crossray", standalone_mode=False)
        if code == 130:  # so typer tells of Ctrl-C
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except InputError as error:
        return _say(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        return _say("Interrupted.", 130)
    except Exception as error:
        # Errors of usage are told apart by name: they are click's or of typer's own copy of it.
        wording = getattr(error, "format_message", None)
        if wording is not None and type(error).__name__ == "NoArgsIsHelpError":
            print(wording())
            return 0
        if wording is not None:
            message = " ".join(wording().split()).rstrip(".")
            return _say(f"{message}; see crossray {' '.join([*_path(error), '--help'])}.", 2)
        if os.environ.get(TRACEBACK) == "1":
            raise
        reason = " ".join(str(error).split()) or "no reason given"
        return _say(f"{type(error).__name__}: {reason} (set {TRACEBACK}=1 to see where)", 1)


def _path(error: Exception) -> list[str]:
    """Names of the sub-commands a usage error happened in."""
    context = getattr(error, "ctx", None)
    return context.command_path.split()[1:] if context is not None else []


def _say(sentence: str, code: int) -> int:
    print(f"crossray: {sentence}", file=sys.stderr)
    return code
