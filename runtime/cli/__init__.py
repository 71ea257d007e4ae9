"""The command line. A command is a module of `commands`, under its own name; nothing lists them.

`argparse` and not typer: for eleven commands typer takes 120 to 160 ms of a process, argparse 10, and `etude check` has
200 for everything. Only the module of the command that was asked for is imported.
"""
