"""In somebody's home folder, with wrong targets: not one file is lost or changed, byte for byte."""

import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from macnn.training.train_step import TrainStep
from macnn_cli.main import run as run_command

USAGE, CHECKPOINT, DISK, STOPPED = 2, 4, 7, 75
SHORT = (
    "--data", "birds", "--img-size", 32, "--batch-size", 8, "--threads", 1, "-q",
    "--set", "data.validation=0",
)  # fmt: skip
PARTS = ("pretrain-parts", *SHORT, "--set", "model.hidden=8", "--restarts", 2, "--fit-steps", 2)
BASELINE = ("train", *SHORT, "--parts", 0, "--rounds", 1, "--epochs", 1)
STREAMS = ("train-part-cnn", "--init", "Downloads/trained", *SHORT, "--stream-epochs", 1)
TRAIN = ("train", "--init", "Downloads/parts", *SHORT, "--rounds", 2, "--epochs", 1,
         "--grouping-steps", 1, "--save-every", 1)  # fmt: skip


@dataclass(frozen=True)
class Made:
    """What macnn wrote: a data set, parts, a training stopped at step 3, one that ended."""

    birds: Path
    parts: Path
    stopped: Path
    trained: Path
    export: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Written once, in a folder laid out as the home folder is; to be copied, not changed."""
    folder = tmp_path_factory.mktemp("made")
    update = TrainStep.update

    def stopping(self, optimiser):
        update(self, optimiser)
        if self.step == 3:
            signal.raise_signal(signal.SIGTERM)

    def call(code, *arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(sys, "argv", ["macnn", *map(str, arguments)])
            if code == STOPPED:
                patch.setattr(TrainStep, "update", stopping)
            with pytest.raises(SystemExit) as left:
                run_command()
        assert left.value.code == code

    call(0, "data", "synth", "--output", "birds", "--images-per-class", 2, "--size", 40, "-q")
    call(0, *PARTS, "--output", "Downloads/parts")
    call(STOPPED, *TRAIN, "--output", "Downloads/stopped")
    call(0, *TRAIN, "--output", "Downloads/trained")
    call(0, "export", "--checkpoint", "Downloads/trained", "--output", "export", "-q")
    downloads = folder / "Downloads"
    return Made(
        folder / "birds",
        downloads / "parts",
        downloads / "stopped",
        downloads / "trained",
        folder / "export",
    )


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    """A home folder, the current one; its links lead to files in the folder `elsewhere`."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for name, text in {
        ".ssh/id": "key",
        ".bashrc": "alias",
        ".git/HEAD": "ref: refs/heads/main",
        ".gitkeep": "",
        ".env": "TOKEN=1",
        ".macnn-notes": "mine",
        ".status.json.17": "mine",
        ".scratch/mine.txt": "mine",
        "project/.env": "TOKEN=2",
        "project/model.json": '{"file": "thesis.tex"}',
        "thesis.tex": "ten years",
        "notes/monday.txt": "notes",
        "config.toml": "[editor]\nfont = 'mono'\n",
        "status.json": '{"state": "failed"}\n',
        "metrics.jsonl": '{"weight": 70}\n',
        "metrics.csv": "weight\n70\n",
        "model.json": "{}",
        "env.json": "{}",
        "summary.json": "{}",
        "sources.json": "{}",
        "images.json": "{}",
        "classes.json": "[]",
        "README.md": "mine",
        "report/report-test.html": "mine",
        "report/eval-test.json": "{}",
        "checkpoints/notes.txt": "mine",
        "tensorboard/events": "mine",
        "macnn/status.json": '{"state": "stopped"}',
        "overlays/00001-holiday.jpg": "mine",
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    (home / ".ssh/id").chmod(0o600)
    (home / "pictures").mkdir()
    Image.new("RGB", (48, 40), "red").save(home / "pictures/holiday.jpg")
    elsewhere.mkdir()
    for name in ("kept.txt", "hard.txt", "metrics.jsonl", "page.html"):
        (elsewhere / name).write_text("elsewhere")
    (elsewhere / "folder").mkdir()
    (elsewhere / "folder" / "deep.txt").write_text("elsewhere")
    (home / "link.txt").symlink_to("../elsewhere/kept.txt")
    (home / "hard.txt").hardlink_to(elsewhere / "hard.txt")
    (home / "work").symlink_to("../elsewhere/folder")
    (home / "dangling").symlink_to("../elsewhere/new")
    for source in (made.birds, made.export):
        shutil.copytree(source, home / source.name)
    for run in (made.parts, made.stopped, made.trained):
        shutil.copytree(run, home / "Downloads" / run.name)
    shutil.copytree(made.stopped / "checkpoints/step-3", home / "step-3")
    shutil.copytree(made.stopped / "checkpoints/step-3", home / "Downloads/step-3")
    shutil.copytree(made.parts / "checkpoints", home / "Downloads/only" / "checkpoints")
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    return home


def snapshot(folder):
    """Every entry below a folder: its kind and permissions, and its bytes or where it leads."""
    found = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        if path.is_symlink():
            content = path.readlink()
        else:
            content = path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (mode, content)
    return found


@pytest.fixture
def unharmed(home, macnn):
    """Run a command; nothing there is lost or changed, nothing new but below `new`.

    unharmed(codes, *arguments, new=(), own=()): `own` are the entries that are the command's to
    change, by path below the home folder.
    """

    def check(codes, *arguments, new=(), own=()):
        around = home.parent
        before = snapshot(around)
        code, _, err = macnn(*arguments)
        after = snapshot(around)
        spared = tuple(f"home/{name}" for name in own)
        gone = [path for path in before if path not in after]
        other = [path for path in before if path in after and after[path] != before[path]]
        # A folder that held files of the command's own alone may go with them.
        emptied = {str(folder) for path in spared for folder in Path(path).parents}
        lost = [path for path in gone if not path.startswith(spared) and path not in emptied]
        changed = [path for path in other if not path.startswith(spared)]
        allowed = (*spared, *(f"home/{name}" for name in new))
        made = [path for path in after if path not in before and not path.startswith(allowed)]
        assert (lost, changed, made) == ([], [], []), err
        assert code in ((codes,) if isinstance(codes, int) else codes), (code, err)
        assert "Traceback" not in err
        if code:
            assert len(err.splitlines()) == 1, err
        return err

    return check


COPIES = ("step-3", "./step-3", "Downloads/step-3", "~/Downloads/step-3")


@pytest.mark.parametrize("copy", COPIES)
def test_a_copied_checkpoint_is_no_run_to_go_on_with(unharmed, home, copy):
    path = copy.replace("~", str(home))
    assert "--init" in unharmed(CHECKPOINT, "train", "--resume", path, "-q")


@pytest.mark.parametrize("command", ["pretrain-parts", "train-part-cnn"])
def test_nor_for_the_other_commands(unharmed, command):
    unharmed(CHECKPOINT, command, "--resume", "step-3", "-q")


@pytest.mark.parametrize("output", ["", "--output=.", "--output=Downloads"])
def test_nor_with_an_output_named(unharmed, output):
    given = [output] if output else []
    unharmed((USAGE, CHECKPOINT), "train", "--resume", "step-3", *given, "-q")


@pytest.mark.parametrize(
    "name",
    ["../../..", "../..", "..", ".", "", "/", "../../../step-3", "step-3/../../..", "step-3/",
     "step-3\nstep-2", "step-3\0", "\x1b[2Jstep-3", "step-９", "x" * 5000],
)  # fmt: skip
@pytest.mark.parametrize("wanted", ["path", "auto"])
def test_latest_names_a_plain_step(unharmed, home, name, wanted):
    (home / "Downloads/stopped/checkpoints/latest").write_text(name)
    (home / "manifest.json").write_text("{}")
    run = "Downloads/stopped"
    given = ("--resume", run) if wanted == "path" else ("--resume", "auto", "--output", run)
    unharmed(CHECKPOINT, "train", *given, "-q")


def test_latest_is_no_link(unharmed, home):
    latest = home / "Downloads/stopped/checkpoints/latest"
    latest.unlink()
    latest.symlink_to("../../../status.json")
    unharmed((CHECKPOINT, DISK), "train", "--resume", "Downloads/stopped", "-q")


def test_latest_is_not_waited_for(unharmed, home):
    latest = home / "Downloads/stopped/checkpoints/latest"
    latest.unlink()
    os.mkfifo(latest)
    arguments = ("train", "--resume", "Downloads/stopped", "-q")
    unharmed((0, CHECKPOINT, DISK), *arguments, own=["Downloads/stopped/"])


@pytest.mark.parametrize(
    "status",
    [
        '{"state": "failed"}',
        '{"state": "stopped", "reason": null}',
        '{"state": "failed", "run": "00000000000000000000000000000000"}',
        '{"state": "failed", "run": ""}',
        "{}",
        "",
        "null",
        '{"run": "%s", "machine": "x", "state": "failed", "reason": null}',
        '{"run": "%s", "replaces": "%s", "machine": "x", "state": "failed", "reason": null}',
    ],
)
@pytest.mark.parametrize("beside", ["env.json", "notes/env.json"])
def test_a_status_alone_makes_no_run_folder(unharmed, home, status, beside):
    (home / "status.json").write_text(status.replace("%s", 32 * "a"))
    (home / "env.json").rename(home / beside)
    for more in ((), ("--overwrite",), ("--resume", "auto")):
        unharmed(USAGE, *BASELINE, "--output", ".", *more)


OUTPUTS = (".", "macnn", "project", "work", "thesis.tex", "birds")


@pytest.mark.parametrize(
    ("command", "output"),
    [*((BASELINE, output) for output in OUTPUTS), (PARTS, "."), (TRAIN, "."), (STREAMS, ".")],
)
@pytest.mark.parametrize("more", [(), ("--overwrite",), ("--resume", "auto")])
def test_a_folder_or_file_of_somebody_is_no_output(unharmed, command, more, output):
    unharmed(USAGE, *command, "--output", output, *more)


def test_a_link_that_leads_nowhere_is_no_output(unharmed):
    unharmed((USAGE, DISK), *BASELINE, "--output", "dangling")
    unharmed((USAGE, DISK), *BASELINE, "--output", "dangling", "--overwrite")


def test_checkpoints_put_into_a_home_folder_make_no_run_of_it(unharmed, home, made):
    for step in ("step-3", "latest"):
        source = made.stopped / "checkpoints" / step
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, home / "checkpoints" / step)
    unharmed((USAGE, CHECKPOINT), "train", "--resume", ".", "-q")
    unharmed((USAGE, CHECKPOINT), *TRAIN, "--resume", "auto", "--output", ".")
    unharmed(USAGE, *TRAIN, "--overwrite", "--output", ".")


@pytest.fixture
def shared(home):
    """A run folder with files of somebody among its own."""
    run = home / "Downloads/stopped"
    names = (
        ".gitkeep", ".env", ".macnn-notes", ".status.json.17", ".scratch/mine.txt", "thesis.tex",
        "notes/monday.txt", "report/mine.html", "report/.mine", "checkpoints/notes.txt",
        "checkpoints/.step-9.123/mine.txt", "checkpoints/step-99/mine.txt", "tensorboard/mine.txt",
    )  # fmt: skip
    for name in names:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("mine")
    (run / "work").symlink_to("../../../elsewhere/folder")
    return run


def its_own(run):
    """What is the run's to change, and not somebody's."""
    return [
        str(Path("Downloads", run.name, path.relative_to(run)))
        for path in run.rglob("*")
        if path.is_file() and not path.is_symlink() and path.read_bytes() != b"mine"
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--resume", "Downloads/stopped", "-q"),
        ("train", "--resume", "Downloads/stopped/checkpoints/step-3", "-q"),
        (*TRAIN, "--resume", "auto", "--output", "Downloads/stopped"),
        (*TRAIN, "--overwrite", "--output", "Downloads/stopped"),
        (*BASELINE, "--overwrite", "--output", "Downloads/stopped", "--tensorboard"),
        (*PARTS, "--overwrite", "--output", "Downloads/stopped"),
        ("eval", "--checkpoint", "Downloads/stopped", "-q"),
    ],
)
def test_what_somebody_put_into_a_run_folder_stays(unharmed, shared, arguments):
    unharmed(0, *arguments, own=its_own(shared), new=["Downloads/stopped/"])


def test_a_run_unpacked_into_a_home_folder_goes_on_and_the_rest_stays(unharmed, home, made):
    names = []
    for entry in made.stopped.iterdir():
        target = home / entry.name
        if entry.is_dir():
            shutil.copytree(entry, target, dirs_exist_ok=True)
            names += [str(p.relative_to(made.stopped)) for p in entry.rglob("*") if p.is_file()]
        else:
            shutil.copyfile(entry, target)
            names.append(entry.name)
    unharmed(
        0, "train", "--resume", ".", "-q",
        own=[*names, "metrics.csv", "summary.json"], new=["checkpoints/", "report/"],
    )  # fmt: skip


def contents(folder):
    return {path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", [PARTS, BASELINE, TRAIN])
def test_overwriting_keeps_the_old_run_until_the_new_one_has_saved(macnn, home, command):
    before = contents(home / "Downloads/trained")
    picture = next((home / "birds/images").rglob("*.jpg"))
    for picture in (home / "birds/images").rglob("*_0001.jpg"):
        picture.write_bytes(b"not a picture")
    code, _, err = macnn(*command, "--output", "Downloads/trained", "--overwrite")
    assert code == 3, err
    assert before <= contents(home / "Downloads/trained")


LINKED = (
    "metrics.jsonl", "status.json", "config.toml", "env.json", "classes.json", "images.json",
    "sources.json", "metrics.csv", "summary.json",
)  # fmt: skip


@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to])
@pytest.mark.parametrize("how", ["resume", "overwrite"])
def test_no_run_writes_through_a_link_in_its_folder(unharmed, home, made, name, make, how):
    file, target = home / "Downloads/stopped" / name, home.parent / "elsewhere/metrics.jsonl"
    if (made.stopped / name).exists():
        shutil.copyfile(made.stopped / name, target)
    file.unlink(missing_ok=True)
    make(file, target)
    arguments = (
        ("train", "--resume", "Downloads/stopped", "-q")
        if how == "resume"
        else (*BASELINE, "--overwrite", "--output", "Downloads/stopped")
    )
    before = target.read_bytes()
    run = "Downloads/stopped/"
    codes = DISK if name == "metrics.jsonl" and how == "resume" else (0, USAGE, CHECKPOINT, DISK)
    if make is Path.symlink_to and how == "resume":
        codes = DISK
    own = [run] if make is Path.hardlink_to or how == "overwrite" else []
    unharmed(codes, *arguments, own=own)
    assert target.read_bytes() == before


@pytest.mark.parametrize("name", ["checkpoints", "report", "tensorboard", "checkpoints/step-3"])
@pytest.mark.parametrize("how", ["resume", "overwrite"])
def test_nor_through_a_link_in_place_of_a_folder(unharmed, home, name, how):
    run, aside = home / "Downloads/stopped", home.parent / "elsewhere/aside"
    if (run / name).exists():
        (run / name).rename(aside)
    else:
        aside.mkdir()
        (aside / "kept.txt").write_text("elsewhere")
    (run / name).symlink_to(aside)
    arguments = {
        "resume": ("train", "--resume", "Downloads/stopped", "--tensorboard", "-q"),
        "overwrite": (*BASELINE, "--overwrite", "--output", "Downloads/stopped", "--tensorboard"),
    }[how]
    unharmed((CHECKPOINT, DISK), *arguments)


REPORT = ("eval-test.json", "report-test.html", "parts-test.png", "confusion-test.png",
          "predictions-test.safetensors")  # fmt: skip


@pytest.mark.parametrize("name", REPORT)
def test_no_report_is_written_through_a_link(unharmed, home, name):
    report, target = home / "Downloads/trained/report", home.parent / "elsewhere/page.html"
    (report / name).symlink_to(target)
    arguments = ("eval", "--checkpoint", "Downloads/trained", "-q")
    unharmed(DISK, *arguments, new=["Downloads/trained/report/"])


def test_nor_into_a_file_that_has_another_name(unharmed, home):
    report, target = home / "Downloads/trained/report", home.parent / "elsewhere/page.html"
    for name in REPORT:
        (report / name).hardlink_to(target)
    arguments = ("eval", "--checkpoint", "Downloads/trained", "-q")
    unharmed((0, DISK), *arguments, own=["Downloads/trained/report/"])


def test_nor_through_a_link_in_place_of_its_folder(unharmed, home):
    report, aside = home / "Downloads/trained/report", home.parent / "elsewhere/aside"
    report.rename(aside)
    report.symlink_to(aside)
    unharmed(DISK, "eval", "--checkpoint", "Downloads/trained", "-q")
    report.unlink()
    report.symlink_to("../../../elsewhere/new")
    unharmed(DISK, "eval", "--checkpoint", "Downloads/trained", "-q")


@pytest.mark.parametrize("target", ["elsewhere/aside", "elsewhere/page.html"])
def test_nor_is_a_page(unharmed, home, macnn, target):
    macnn("eval", "--checkpoint", "Downloads/trained", "-q")
    page = home / "Downloads/trained/report/report-test.html"
    page.unlink()
    page.symlink_to(home.parent / target)
    unharmed(DISK, "report", "--run", "Downloads/trained")


def test_evaluating_a_copied_checkpoint_leaves_the_folders_above_it_alone(unharmed):
    for copy in ("step-3", "Downloads/step-3"):
        unharmed((0, CHECKPOINT), "eval", "--checkpoint", copy, "-q", new=[f"{copy}/"])


@pytest.mark.parametrize("run", [".", "project", "macnn", "birds", "Downloads/only", "thesis.tex"])
def test_a_report_is_about_a_run(unharmed, run):
    unharmed((USAGE, 3), "report", "--run", run)


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
@pytest.mark.parametrize(
    "output", [".", "project", "birds", "work", "thesis.tex", "Downloads/trained", "dangling"]
)
def test_an_export_replaces_nothing_of_somebody(unharmed, output, more):
    codes = USAGE if output != "dangling" else (USAGE, DISK)
    unharmed(codes, "export", "--checkpoint", "Downloads/trained", "--output", output, *more, "-q")


def edited(folder):
    (folder / "README.md").write_text("a card of my own")


def grown(folder):
    (folder / "notes.txt").write_text("mine")


def hidden(folder):
    (folder / ".env").write_text("mine")


def nested(folder):
    (folder / "mine").mkdir()


def linked(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("../../elsewhere/kept.txt")


def renamed(folder):
    (folder / "model.json").write_text("{}")


@pytest.mark.parametrize("change", [edited, grown, hidden, nested, linked, renamed])
def test_an_export_that_somebody_changed_is_not_replaced(unharmed, home, change):
    change(home / "export")
    arguments = ("export", "--checkpoint", "Downloads/trained", "--output", "export", "-q")
    unharmed(USAGE, *arguments)
    unharmed(USAGE, *arguments, "--overwrite")


def test_one_that_nobody_changed_is(unharmed, home):
    arguments = ("export", "--checkpoint", "Downloads/trained", "--output", "export", "-q")
    unharmed(USAGE, *arguments)
    unharmed(0, *arguments, "--overwrite", own=["export"])
    (home / "shelf").symlink_to("export")
    unharmed((USAGE, DISK), *arguments[:-3], "--output", "shelf", "--overwrite", "-q")


def test_overlays_replace_no_picture(unharmed, home):
    arguments = ("predict", "pictures", "--checkpoint", "Downloads/trained", "-q")
    unharmed((0, USAGE, DISK), *arguments, "--save-overlays", "overlays", new=["overlays/"])
    unharmed((0, USAGE, DISK), *arguments, "--save-overlays", ".", new=["00001-holiday"])
    unharmed((USAGE, DISK), *arguments, "--save-overlays", "thesis.tex")
    (home / "drawn").mkdir()
    (home / "drawn/00001-holiday.jpg").symlink_to("../../elsewhere/kept.txt")
    unharmed((0, USAGE, DISK), *arguments, "--save-overlays", "drawn", new=["drawn/"])


@pytest.mark.parametrize(
    "output", [".", "project", "birds", "work", "thesis.tex", "link.txt", "Downloads/trained"]
)
def test_a_cache_and_birds_want_a_folder_of_their_own(unharmed, output):
    unharmed(USAGE, "data", "cache", "--data", "birds", "--img-size", 32, "--output", output, "-q")
    unharmed(USAGE, "data", "synth", "--images-per-class", 2, "--output", output, "-q")


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
@pytest.mark.parametrize("output", [".", "project", "birds", "work", "thesis.tex"])
def test_a_demo_wants_one_too(unharmed, output, more):
    unharmed(USAGE, "demo", "--output", output, *more, "-q")


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_a_demo_replaces_runs_of_its_own_only(unharmed, home, made, more):
    shutil.copytree(made.birds, home / "demo" / "birds-seed0")
    (home / "demo/parts").mkdir()
    (home / "demo/parts/status.json").write_text('{"state": "failed"}')
    (home / "demo/parts/thesis.tex").write_text("ten years")
    unharmed(USAGE, "demo", "--output", "demo", *more, "-q")


@pytest.mark.parametrize("start", ["step-3", "Downloads/step-3", "thesis.tex", "dangling", "."])
def test_a_training_that_starts_from_the_wrong_place_writes_nothing(unharmed, start):
    unharmed(CHECKPOINT, "train", "--init", start, "--output", "run", *SHORT)


@pytest.mark.parametrize(
    "start", ["Downloads/only", "Downloads/only/checkpoints", "Downloads/parts"]
)
def test_a_training_from_copied_parts_writes_its_own_folder_only(unharmed, start):
    unharmed(
        0, "train", "--init", start, "--output", "run", *SHORT, "--rounds", 1, "--epochs", 1,
        new=["run"],
    )  # fmt: skip
