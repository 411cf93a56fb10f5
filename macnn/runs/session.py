"""What surrounds every stage: processes joined, signals noted, memory errors named."""

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
    """Run a stage inside.

    Raises:
        PreemptedError: a signal asked the stage to stop, and it had nothing to save.
        DeviceMemoryError: the device ran out of memory.
    """
    with distributed.process_group(settings.run.process_timeout), stop.on_signals():
        try:
            yield
        except stop.Stopped as stopped:
            raise stopped_error(stopped, None) from None
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            if not any(words in str(error) for words in NO_MEMORY):
                raise
            size = settings.data.batch_size
            raise DeviceMemoryError(
                f"out of memory with --batch-size {size} at {settings.data.image_size} px",
                hint=f"try --grad-accum-steps {2 * settings.train.grad_accum_steps}, "
                f"--precision bf16, or --batch-size {max(1, size // 2)}",
            ) from error


def stopped_error(stopped: stop.Stopped, saved: Path | None) -> PreemptedError:
    """What to end a stopped run with; `saved` is where it can go on from."""
    what = f"saved {saved}; go on with --resume auto" if saved else "nothing was written"
    kind = InterruptedRunError if stopped.received == signal.SIGINT else PreemptedError
    return kind(f"stopped by {stopped}: {what}")
