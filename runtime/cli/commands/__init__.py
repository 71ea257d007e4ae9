"""One module per command: its docstring is its help, `EXAMPLES` stand below, `Options` are read, `run` is called."""
