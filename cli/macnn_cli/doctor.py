"""`macnn doctor`: is this machine fit for the work?"""

import typer

from macnn_cli.console import listening, print_json, print_line
from macnn_cli.options import JSON, QUIET, Given, takes_settings
from macnn_cli.wording import as_typed


@takes_settings("run.device", "run.threads", "run.kernels")
def doctor(*, given: Given, json: JSON = False, quiet: QUIET = False) -> None:
    """Say what is installed, what runs here and why, and try it in under a minute.

    Looks at versions, GPU, kernels, weights, disk and memory. Then tries every operator against
    the reference, a step of every phase on synthetic birds, and a checkpoint. What is broken gets
    a remedy, and the exit code is then 1.
    """
    from dataclasses import asdict

    from macnn.commands.doctor.run import run

    with listening(quiet or json) as listen:
        findings, environment = run(given.resolve().settings, listen)
    well = all(finding.ok for finding in findings)
    if json:
        found = [asdict(finding) for finding in findings]
        print_json({"ok": well, "findings": found, "environment": environment})
    else:
        for finding in findings:
            mark = ("ok      ", "green") if finding.ok else ("broken  ", "red")
            print_line(mark, (finding.name, "bold"), f": {as_typed(finding.text)}")
            if finding.remedy:
                print_line(f"        {as_typed(finding.remedy)}")
    if not well:
        raise typer.Exit(1)
