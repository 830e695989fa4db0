"""The one exception a user can provoke.

Every bad input (a file, a volume, a camera, a command-line option) is refused with an `InputError` whose
message is one sentence that says what was wrong, with which file or argument, and what to do about it.
The command line prints that sentence and exits with code 2.
"""


class InputError(ValueError):
    """What the caller gave cannot be used; the message names it and the remedy."""
