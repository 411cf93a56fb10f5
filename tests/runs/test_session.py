import signal

import pytest
import torch

from macnn import stop
from macnn.config import Settings
from macnn.errors import DeviceMemoryError, InterruptedRunError, PreemptedError
from macnn.runs.session import session


def in_session(*signals):
    with session(Settings()):
        for number in signals:
            signal.raise_signal(number)
        if stop.requested():
            raise stop.Stopped


def test_a_signal_is_noted_and_met_at_the_next_check():
    with pytest.raises(PreemptedError, match="SIGTERM: nothing was written") as left:
        in_session(signal.SIGTERM)
    assert left.value.exit_code == 75
    in_session()  # the next session knows nothing of it


def test_a_first_interrupt_lets_the_run_save_and_a_second_does_not_wait():
    with pytest.raises(InterruptedRunError) as left:
        in_session(signal.SIGINT)
    assert left.value.exit_code == 130
    with pytest.raises(KeyboardInterrupt):
        in_session(signal.SIGINT, signal.SIGINT)


def test_a_device_without_memory_is_named_with_three_things_to_try():
    with pytest.raises(DeviceMemoryError) as left, session(Settings()):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    assert left.value.exit_code == 6
    for words in (
        "`data.batch_size=16` at 224 px",
        "`train.grad_accum_steps=2`",
        "`run.precision=bf16`",
        "`data.batch_size=8`",
    ):
        assert words in str(left.value)


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shape"), session(Settings()):
        raise RuntimeError("shape mismatch")
