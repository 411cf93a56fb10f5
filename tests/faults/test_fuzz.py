"""A thousand wrong files: each ends in one line, in time and memory, and changes nothing else."""

import os
import subprocess
import sys
from pathlib import Path

FUZZING = Path(__file__).parent / "fuzzing"


def test_wrong_files_end_in_one_line(report):
    count = os.environ.get("MACNN_TEST_INPUTS", "1000")
    line = [sys.executable, FUZZING, "0", "0", count]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report(done.stdout.strip())
