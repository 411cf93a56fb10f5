"""The metrics of a run for TensorBoard, from the same events as metrics.jsonl."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from macnn import distributed
from macnn.config import Settings
from macnn.errors import UsageError
from macnn.events import Event, Listener, Metrics


@contextmanager
def tensorboard(settings: Settings, run: Path, listen: Listener) -> Iterator[Listener]:
    """The listener, which with `run.tensorboard` also writes metrics to `run`/tensorboard.

    Raises:
        UsageError: TensorBoard is asked for and not installed.
    """
    wanted = settings.run.tensorboard
    if wanted and find_spec("tensorboard") is None:
        raise UsageError(
            "--tensorboard: TensorBoard is not installed", hint="pip install 'macnn[tensorboard]'"
        )
    if not wanted or distributed.rank() != 0:
        yield listen
        return
    from torch.utils.tensorboard import SummaryWriter

    with ExitStack() as stack:
        writer: SummaryWriter | None = None

        def heard(event: Event) -> None:
            nonlocal writer
            if isinstance(event, Metrics):
                if writer is None:
                    # Not before the run folder has been emptied. A resumed run repeats steps:
                    # what an earlier file says from this one on is purged.
                    board = SummaryWriter(str(run / "tensorboard"), purge_step=event.step)
                    writer = stack.enter_context(board)
                for name, value in event.values.items():
                    writer.add_scalar(f"{event.phase}/{name}", value, event.step)
            listen(event)

        yield heard
