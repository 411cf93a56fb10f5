"""What surrounds every command: processes joined, signals noted, memory errors named."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from macnn import distributed, stop
from macnn.config import Settings
from macnn.errors import DeviceMemoryError, InterruptedRunError, PreemptedError

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@contextmanager
def session(settings: Settings) -> Iterator[None]:
    """Run a command inside.

    Raises:
        PreemptedError: a signal asked it to stop, and it had nothing to save.
        DeviceMemoryError: the device ran out of memory.
    """
    with distributed.process_group(settings.run.process_timeout), stop.on_signals():
        try:
            yield
        except stop.Stopped:
            raise stopped_error(None) from None
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            if not any(words in str(error) for words in NO_MEMORY):
                raise
            size = settings.data.batch_size
            raise DeviceMemoryError(
                f"out of memory with `data.batch_size={size}` at {settings.data.image_size} px",
                hint=f"try `train.grad_accum_steps={2 * settings.train.grad_accum_steps}`, "
                f"`run.precision=bf16`, or `data.batch_size={max(1, size // 2)}`",
            ) from error


def stopped_error(saved: Path | None) -> PreemptedError:
    """What to end a stopped run with; `saved` is where it can go on from."""
    what = f"saved {saved}; go on with `resume` auto" if saved else "nothing was written"
    received = stop.received()
    kind = InterruptedRunError if received == signal.SIGINT else PreemptedError
    return kind(f"stopped by {received.name}: {what}")
