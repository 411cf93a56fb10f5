import json

import pytest


@pytest.fixture(scope="module")
def found(birds, tmp_path_factory):
    """A run folder of found parts, not evaluated."""
    from macnn import events
    from macnn.commands.pretrain_parts import run
    from macnn.config import resolve

    folder = tmp_path_factory.mktemp("runs") / "parts"
    flags = {"data.root": birds, "run.output": folder, "data.image_size": 64}
    flags |= {"pretrain.fit_steps": 5}
    run(resolve(flags=flags, environ={}).settings, overwrite=False, listen=events.silent)
    return folder


def test_eval_writes_the_page_and_report_writes_it_again(macnn, found):
    code, out, err = macnn("eval", "--checkpoint", found, "--split", "train", "--json")
    assert code == 0, err
    page = found / "report" / "report-train.html"
    assert str(page) in json.loads(out)["files"]
    assert "data.image_size" in page.read_text(encoding="utf-8")

    page.unlink()
    code, out, err = macnn("report", "--run", found, "--split", "train", "--json")
    assert code == 0, err
    assert json.loads(out) == {"page": str(page)}
    assert page.is_file()
    assert json.loads((found / "sources.json").read_text())["data.image_size"] == "flag"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--run", "{here}/nowhere"], 2, "nowhere: not a run folder of macnn; name the folder"),
        (["--run", "{here}"], 2, "{here}: not a run folder of macnn; name the folder"),
        (["--run", "{found}", "--split", "validation"], 2, "evaluate it first, with --split"),
        (["--run", "{found}", "--baseline", "{here}"], 2, "not evaluated on the test images"),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(macnn, found, tmp_path, arguments, code, said):
    filled = [each.format(found=found, here=tmp_path) for each in arguments]
    left, _, err = macnn("report", *filled)
    assert left == code
    assert said.format(here=tmp_path) in err
