import pytest
from PIL import Image, ImageColor

from macnn.data.samples import Box
from macnn.errors import DiskError, UsageError
from macnn.inference.overlay import LONGEST, OverlayFolder, draw_parts
from macnn.inference.results import ClassScore, Prediction
from macnn.report.style import part_colour

GREY = (90, 90, 90)


def prediction(file, *parts):
    return Prediction(str(file), (ClassScore("001.A_bird", 0.9), ClassScore("b", 0.1)), parts)


@pytest.fixture
def file(tmp_path):
    Image.new("RGB", (2 * LONGEST, LONGEST), GREY).save(tmp_path / "grey.png")
    return tmp_path / "grey.png"


def test_every_part_is_boxed_in_its_colour_at_the_size_of_the_page(file):
    page = draw_parts(file, prediction(file, Box(200, 100, 400, 400), Box(1200, 400, 300, 300)))
    assert page.width == LONGEST
    assert page.height > LONGEST // 2  # the classes are written below
    for part, left, middle in ((0, 100, 150), (1, 600, 275)):
        assert page.getpixel((left + 1, middle)) == ImageColor.getrgb(part_colour(part))
    assert page.getpixel((200, 150)) == GREY


def test_parts_in_one_place_keep_their_numbers_apart(file):
    boxes = [Box(200, 200, 400, 400)] * 4
    page = draw_parts(file, prediction(file, *boxes)).crop((100, 100, 301, 301))
    corners = [page.getpixel((x, y)) for y in (12, 190) for x in (17, 183)]
    assert corners == [ImageColor.getrgb(part_colour(part)) for part in range(4)]


def test_pictures_of_one_name_do_not_overwrite_each_other(file, tmp_path):
    folder = OverlayFolder(tmp_path / "deep" / "overlays")
    for _ in range(2):
        folder.add(prediction(file))
    names = sorted(path.name for path in folder.folder.iterdir())
    assert names == ["00001-grey.jpg", "00002-grey.jpg"]


def test_a_file_in_the_way_is_named(file):
    with pytest.raises(DiskError, match=r"grey\.png: cannot be made"):
        OverlayFolder(file)


def test_a_folder_that_holds_something_is_refused_and_kept(file):
    with pytest.raises(UsageError, match="exists and is not an empty folder; name another"):
        OverlayFolder(file.parent)
    assert list(file.parent.iterdir()) == [file]


def test_long_names_and_many_classes_fit(file, tmp_path):
    long = file.rename(tmp_path / f"{'ü' * 120}.png")
    folder = OverlayFolder(tmp_path / "overlays")
    classes = tuple(ClassScore("a" * 100_000, 0.1) for _ in range(4_000))
    folder.add(Prediction(str(long), classes, ()))
    (saved,) = folder.folder.iterdir()
    with Image.open(saved) as page:
        assert page.width == LONGEST
        assert page.height < 10 * LONGEST
