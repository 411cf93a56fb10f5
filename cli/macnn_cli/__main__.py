"""`python -m macnn_cli` is `macnn`."""

from macnn_cli.main import run

run()
