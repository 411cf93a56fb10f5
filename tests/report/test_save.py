import pytest
from matplotlib.figure import Figure
from PIL import Image

from macnn.report.save import save


@pytest.mark.parametrize("picture", [Image.new("RGB", (8, 4), "red"), Figure((1, 1))])
def test_pictures_and_figures_are_saved_as_png(tmp_path, picture):
    file = tmp_path / "new" / "picture.png"
    save(picture, file)
    with Image.open(file) as stored:
        stored.verify()
        assert stored.format == "PNG"


def test_an_old_picture_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    file = tmp_path / "picture.png"
    save(Image.new("RGB", (8, 4)), file)
    save(Image.new("RGB", (2, 2)), file)
    with Image.open(file) as stored:
        assert stored.size == (2, 2)
    assert list(tmp_path.iterdir()) == [file]


def test_a_failed_write_keeps_the_old_picture(tmp_path, monkeypatch):
    file = tmp_path / "picture.png"
    save(Image.new("RGB", (8, 4)), file)

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="no space"):
        save(Image.new("RGB", (2, 2)), file)
    with Image.open(file) as stored:
        assert stored.size == (8, 4)
    assert list(tmp_path.iterdir()) == [file]
