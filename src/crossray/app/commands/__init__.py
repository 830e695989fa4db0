"""What the commands do, one module a command, imported when the command runs."""
