import pytest

from macnn import events
from macnn.commands import train, train_part_cnn
from macnn.errors import UsageError


@pytest.mark.parametrize(
    ("command", "message"),
    [(train, "no parts to train from; .*`init`"), (train_part_cnn, "no parts to crop; .*`init`")],
)
def test_a_training_that_needs_parts_says_where_to_name_them(settings, tmp_path, command, message):
    with pytest.raises(UsageError, match=message):
        command.run(settings("run"), None, overwrite=False, listen=events.silent)
    assert not (tmp_path / "run").exists()
