import sys

import pytest

from macnn_cli.main import run


@pytest.fixture
def macnn(monkeypatch, capsys):
    """Run the command line in this process: macnn("eval", "--checkpoint", x) -> code, out, err."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["macnn", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            run()
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return call
