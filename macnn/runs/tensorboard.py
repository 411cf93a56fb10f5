"""The metrics of a run for TensorBoard, the same as in metrics.jsonl."""

from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from macnn import distributed
from macnn.errors import UsageError
from macnn.events import Metrics

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard:
    """Writes metrics to `run`/tensorboard, if that is wanted; its file is opened at the first."""

    def __init__(self, run: Path, *, wanted: bool) -> None:
        """Nothing is written yet.

        Raises:
            UsageError: TensorBoard is asked for and not installed.
        """
        if wanted and find_spec("tensorboard") is None:
            raise UsageError(
                "`run.tensorboard`: TensorBoard is not installed",
                hint="pip install 'macnn[tensorboard]'",
            )
        self.folder = run / "tensorboard"
        self.wanted = wanted and distributed.rank() == 0
        self.writer: SummaryWriter | None = None

    def record(self, metrics: Metrics) -> None:
        """Write metrics."""
        if not self.wanted:
            return
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # Not before the run folder has been emptied. A resumed run repeats steps: what an
            # earlier file says from this one on is purged.
            self.writer = SummaryWriter(str(self.folder), purge_step=metrics.step)
        for name, value in metrics.values.items():
            self.writer.add_scalar(f"{metrics.phase}/{name}", value, metrics.step)

    def __enter__(self) -> "TensorBoard":
        """Nothing happens yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        if self.writer is not None:
            self.writer.close()
