"""The errors a user can meet, each with the exit code of the command that meets it.

A message is one line that names the thing and the remedy; `hint` carries the remedy.
Anything that is not a `MacnnError` is a bug (exit code 1).
"""


class MacnnError(Exception):
    """An error that is the input's or the machine's, not the program's.

    `problem` is its message without the remedy.
    """

    exit_code = 1

    def __init__(self, problem: str, *, hint: str | None = None) -> None:
        self.problem = problem
        super().__init__(f"{problem}; {hint}" if hint else problem)


class ExportError(MacnnError):
    """An exported model that does not answer as its original does."""


class UsageError(MacnnError, ValueError):
    """An option, a configuration key or a combination of them that makes no sense."""

    exit_code = 2


class DataError(MacnnError):
    """A data set that is missing, incomplete or unreadable."""

    exit_code = 3


class CheckpointError(MacnnError):
    """A checkpoint or weights file that is missing, damaged or of the wrong kind."""

    exit_code = 4


class PreemptedError(MacnnError):
    """The run was asked to stop, and has saved."""

    exit_code = 75


class InterruptedRunError(PreemptedError):
    """The same, asked for from the keyboard."""

    exit_code = 130


class NonFiniteError(MacnnError):
    """A loss or gradient that became NaN or infinite."""

    exit_code = 5


class DeviceMemoryError(MacnnError):
    """The device ran out of memory."""

    exit_code = 6


class DiskError(MacnnError):
    """A file could not be written."""

    exit_code = 7
