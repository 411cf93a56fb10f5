"""Several processes count what one counts, fail together, and survive the death of one."""

import socket
import subprocess
import sys
from contextlib import closing

import torch

from macnn.data.synth import write_birds
from macnn.runs.checkpoint import read_checkpoint


def worlds(size):
    """Environments of `size` processes that meet each other."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(size),
            "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        for rank in range(size)
    ]


def test_any_number_of_processes_counts_101_images_once(start, tmp_path, tmp_path_factory):
    birds = tmp_path_factory.mktemp("more") / "birds"
    write_birds(birds, classes=16, images_per_class=7, size=48, seed=0)
    results = []
    for size in (1, 2, 3):
        file = tmp_path / f"{size}.pt"
        group = [start("counted", env, birds, 101, file) for env in worlds(size)]
        for process in group:
            process.join()
            assert process.exitcode == 0
        results.append(torch.load(file, weights_only=True))
    one, *more = results
    assert one["samples"].tolist() == list(range(101))
    for other in more:
        assert other["images"] == one["images"] == other["counted"] == one["counted"] == 101
        torch.testing.assert_close(other["centres"], one["centres"], atol=1e-3, rtol=1e-4)
        assert torch.equal(other["present"], one["present"])
        assert other["covered"] == one["covered"] == 101
        torch.testing.assert_close(other["lost"], one["lost"], atol=1e-6, rtol=1e-4)
        assert torch.equal(other["samples"], one["samples"])
        assert torch.equal(other["labels"], one["labels"])
        assert torch.equal(other["logits"].argmax(2), one["logits"].argmax(2))
        assert torch.equal(other["gram"], one["gram"])


def test_not_a_number_in_one_process_ends_both_before_it_is_saved(start, command_line, tmp_path):
    run = tmp_path / "run"
    group = [
        start("poisoned", env, 1, 7, *command_line(run, "--save-every", 1, "-q"))
        for env in worlds(2)
    ]
    for process in group:
        process.join()
    assert [process.exitcode for process in group] == [5, 5]
    assert "at step 7, on images of another process" in (run / "status.json").read_text()
    saved = read_checkpoint(run)
    assert saved.step <= 6
    for name in ("model", "trainer"):
        assert all(t.isfinite().all() for t in saved.tensors(name).values())


def torchrun(*arguments):
    line = ("-m", "torch.distributed.run", "--nproc-per-node", 2, "--max-restarts", 3,
            "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0")  # fmt: skip
    return subprocess.run(
        [sys.executable, *map(str, line), "-m", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_run_whose_process_is_killed_and_restarted_ends_with_the_same_bytes(
    command_line, content, tmp_path, monkeypatch
):
    line = ("--save-every", 1, "--quiet", "--set", "run.process_timeout=30")
    whole = torchrun("macnn_cli", *command_line(tmp_path / "whole", *line))
    assert whole.returncode == 0, whole.stderr
    # The second process dies once, without a word, after its tenth step.
    monkeypatch.setenv("MACNN_TEST_DIES", str(tmp_path / "died"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    (tmp_path / "dying.py").write_text(DYING)
    killed = torchrun("dying", *command_line(tmp_path / "killed", *line))
    assert (tmp_path / "died").exists()
    assert killed.returncode == 0, killed.stderr
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


DYING = """
import os, pathlib, signal
from macnn_cli import main
from macnn.training.train_step import TrainStep

update, died = TrainStep.update, pathlib.Path(os.environ["MACNN_TEST_DIES"])

def updating(self, optimiser):
    update(self, optimiser)
    if self.step == 10 and os.environ["RANK"] == "1" and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)

TrainStep.update = updating
main.run()
"""
