import pytest

from macnn import events
from macnn.commands import pretrain_parts
from macnn.errors import PreemptedError, UsageError
from macnn.runs.checkpoint import read_checkpoint


def found(settings, folder, more=(), resume=None, listen=events.silent):
    chosen = settings(folder, more)
    return pretrain_parts.run(chosen, overwrite=False, listen=listen, resume=resume)


def model(run):
    return (read_checkpoint(run, "parts").folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("task", "done"), [("Reading channel peaks", 2), ("Fitting grouping layers", 20)]
)
def test_stopped_while_reading_images_or_once_fitted_it_goes_on_to_the_same_parts(
    settings, stop_at, tmp_path, task, done
):
    found(settings, "whole")
    with pytest.raises(PreemptedError, match=r"saved .*step-\d+; go on with"):
        found(settings, "run", listen=stop_at(task, done))
    resume = read_checkpoint(tmp_path / "run", "statistics")
    found(settings, "run", resume=resume)
    assert model(tmp_path / "run") == model(tmp_path / "whole")


def test_there_are_no_parts_to_find_for_the_baseline(settings, tmp_path):
    with pytest.raises(UsageError, match=r"`model\.parts` 0: no parts to find"):
        found(settings, "run", {"model.parts": 0})
    assert not (tmp_path / "run").exists()
