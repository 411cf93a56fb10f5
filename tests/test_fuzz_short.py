"""Some inputs like those that `make test-faults` runs by the thousand: see tests/faults/fuzzing."""

import subprocess
import sys
from pathlib import Path

FUZZING = Path(__file__).parent / "faults" / "fuzzing"


def test_wrong_files_end_in_one_line():
    line = [sys.executable, FUZZING, "1", "0", "60"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
