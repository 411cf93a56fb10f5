"""The `macnn` command: the commands, and the exit code of whatever goes wrong."""

import errno
import sys
from typing import Annotated, Any

import typer

from macnn import __version__
from macnn.errors import MacnnError
from macnn_cli import (
    backbones,
    bench,
    config,
    data,
    demo,
    doctor,
    evaluate,
    export,
    predict,
    pretrain_parts,
    report,
    train,
    train_part_cnn,
)
from macnn_cli.console import complain, print_line, take_any_character
from macnn_cli.examples import epilog
from macnn_cli.options import Command, explain_unknown

USAGE, INTERRUPTED = 2, 130
# Typer does not name the base class of its usage errors; it is BadParameter's.
TyperUsageError: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="macnn",
    help="Find the parts that tell look-alike classes apart, train on them, and show them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("pretrain-parts")(pretrain_parts.pretrain_parts)
app.command("train")(train.train)
app.command("train-part-cnn")(train_part_cnn.train_part_cnn)
app.command("eval")(evaluate.evaluate)
app.command("report")(report.report)
app.command("predict")(predict.predict)
app.command("export")(export.export)
app.command("backbones")(backbones.backbones)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data")
app.add_typer(config.app, name="config")
app.add_typer(bench.app, name="bench")


def _equip(group: typer.Typer, prefix: str = "") -> None:
    for command in group.registered_commands:
        command.epilog, command.cls = epilog(f"{prefix}{command.name}"), Command
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        _equip(inner.typer_instance, f"{prefix}{inner.name} ")


_equip(app)


def _version(asked: bool) -> None:
    if asked:
        print_line(f"macnn {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Find the parts that tell look-alike classes apart, train on them, and show them."""


def _explained(error: Any) -> str | None:
    if not hasattr(error, "possibilities"):  # only the error of an unknown option has them
        return None
    return explain_unknown(error.option_name, error.ctx.command, error.ctx.command_path)


def run() -> None:
    """Entry point: run a command; what goes wrong becomes one line and an exit code."""
    take_any_character()
    try:
        code = app(prog_name="macnn", standalone_mode=False)
    except MacnnError as error:
        complain(str(error))
        code = error.exit_code
    except TyperUsageError as error:
        # Without arguments the help has been shown, and there is nothing to say.
        if said := _explained(error) or error.format_message():  # type: ignore[attr-defined]
            complain(said)
        code = USAGE
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        complain(f"{error.filename}: the name is too long")
        code = USAGE
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        code = INTERRUPTED
    sys.exit(code or 0)
