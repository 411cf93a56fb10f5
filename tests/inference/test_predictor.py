import subprocess
import sys

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import macnn
from macnn.config import resolve
from macnn.data.images import read_image
from macnn.data.samples import Box
from macnn.defaults import PART_SHARE
from macnn.errors import CheckpointError, DataError, NonFiniteError
from macnn.inference.predictor import Predictor
from macnn.inference.preprocessing import Preprocessing
from macnn.inference.recogniser import Recogniser, Recognition, open_recogniser
from macnn.inference.results import Prediction, Unreadable
from macnn.model import PooledClassifier, create_backbone
from macnn.model.alignment import part_centres
from macnn.runs.checkpoint import read_checkpoint
from macnn.runs.models import load_model, new_part_cnn


@pytest.fixture(scope="module")
def model(trained):
    return macnn.load(trained("macnn"), device="cpu")


@pytest.fixture(scope="module")
def files(birds):
    return sorted(birds.glob("images/*/*"))


class Fixed(Recogniser):
    """Gives the same answer to every picture, and notes how many it was asked about at a time."""

    def __init__(self, logits, boxes, size=64):
        super().__init__(PooledClassifier(create_backbone("tiny"), len(logits), image_size=size))
        self.answer = Recognition(torch.tensor([logits]), torch.tensor([boxes]).view(1, -1, 4))
        self.asked = []

    def forward(self, images):
        self.asked.append(len(images))
        return Recognition(*(t.expand(len(images), *t.shape[1:]) for t in self.answer))


def predictor(logits, boxes, mode="crop"):
    """A predictor whose network always gives the same answer, on 64 px."""
    fixed = Fixed(logits, boxes)
    return Predictor(
        fixed, ("a", "b", "c"), Preprocessing(64, mode, "bilinear"), torch.device("cpu")
    )


def corners(boxes):
    return torch.tensor([(box.x, box.y, box.x + box.width, box.y + box.height) for box in boxes])


def test_importing_the_package_imports_no_torch():
    check = "import sys, macnn; assert 'torch' not in sys.modules; macnn.__version__"
    subprocess.run([sys.executable, "-c", check], check=True)
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = macnn.laod


def test_files_images_and_tensors_are_predicted_alike(model, files):
    path = files[0]
    (expected,) = model.predict([path])
    assert expected.source == str(path)
    with Image.open(path) as image:
        for picture in (str(path), image, read_image(path)):
            (found,) = model.predict([picture])
            assert (found.classes, found.parts) == (expected.classes, expected.parts)


def test_batches_of_one_equal_batches_of_many(model, files):
    """Classes exactly, boxes and probabilities up to the order of float32 sums."""
    one, many = (model.predict(files, batch_size=size) for size in (1, 7))
    for alone, together in zip(one, many, strict=True):
        assert alone.source == together.source
        assert alone.name == together.name
        assert_close(corners(alone.parts), corners(together.parts), rtol=0, atol=0.01)
        assert_close(alone.probability, together.probability, rtol=1e-5, atol=1e-6)


def test_the_most_probable_classes_come_first_and_there_are_no_more_than_all(model, files):
    (found,) = model.predict(files[:1], top=99)
    shares = [score.probability for score in found.classes]
    assert len(shares) == len(model.class_names) == 16
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    assert (found.name, found.probability) == (found.classes[0].name, shares[0])


@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [
        # 64 px of the network are 128 px of the picture; the centre crop starts at x = 64
        ("crop", (256, 128), Box(64 + 32, 16, 32, 64)),
        # 256 px wide after padding 64 px above and below; the box starts in the padding
        ("pad", (256, 128), Box(64, 0, 64, 96)),
        ("squash", (256, 128), Box(64, 16, 64, 64)),
    ],
)
def test_boxes_are_in_pixels_of_the_picture_and_end_at_its_border(mode, size, expected):
    (found,) = predictor([0.0, 1.0, 0.0], [[16.0, 8.0, 32.0, 40.0]], mode).predict(
        [Image.new("RGB", size)]
    )
    (box,) = found.parts
    assert vars(box) == pytest.approx(vars(expected), abs=1e-3)
    outside = predictor([0.0, 1.0, 0.0], [[-9.0, -9.0, 99.0, 99.0]], "squash")
    assert outside.predict([Image.new("RGB", (30, 20))])[0].parts == (Box(0, 0, 30, 20),)


def test_a_part_is_a_square_around_the_centre_of_its_map(trained, model, files):
    network = load_model(read_checkpoint(trained("macnn"))).eval()
    with torch.no_grad():
        maps = network(read_image(files[0])[None]).attention
    centres = network.grid.to_pixels(part_centres(maps))[0]
    reach = PART_SHARE * 64 / 2
    expected = torch.cat((centres - reach, centres + reach), dim=1).clamp(0, 64)
    (found,) = model.predict(files[:1])
    assert_close(corners(found.parts), expected, rtol=0, atol=0.01)


def test_the_baseline_has_classes_and_no_parts(trained, files):
    (found,) = macnn.load(trained("baseline"), device="cpu").predict(files[:1])
    assert found.parts == ()
    assert found.name.startswith("0")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_cannot_be_read_stops_nothing(model, files, tmp_path, workers):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"not an image")
    results = list(model.stream([files[0], bad, files[1]], batch_size=2, workers=workers))
    assert [type(result) for result in results] == [Prediction, Unreadable, Prediction]
    assert results[1].source == str(bad)
    assert "bad.jpg: does not decode" in results[1].problem
    assert results[2].source == str(files[1])
    with pytest.raises(DataError, match=r"bad\.jpg: does not decode"):
        model.predict([files[0], bad])


def test_a_tensor_that_is_no_picture_is_refused(model):
    with pytest.raises(DataError, match=r"float32 is no picture; expected uint8 \(3, H, W\)"):
        model.predict([torch.zeros(3, 8, 8)])


def test_predicting_leaves_the_global_random_state_alone(model, files):
    before = torch.random.get_rng_state()
    model.predict(files[:2])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_answer_that_is_not_finite_is_no_prediction():
    with pytest.raises(NonFiniteError, match="not finite"):
        predictor([0.0, float("nan"), 0.0], [[0.0] * 4]).predict([Image.new("RGB", (9, 9))])


def test_a_checkpoint_without_classifiers_is_refused(trained):
    with pytest.raises(CheckpointError, match="'parts' checkpoint cannot name classes"):
        macnn.load(trained("parts"))


@pytest.mark.parametrize(("size", "expected"), [(64, 5), (896, 5), (1024, 3), (2048, 1)])
def test_large_inputs_come_in_smaller_batches(size, expected):
    fixed = Fixed([0.0, 0.0], [], size)
    model = Predictor(
        fixed, ("a", "b"), Preprocessing(size, "crop", "bilinear"), torch.device("cpu")
    )
    model.predict([Image.new("RGB", (9, 9))] * 5, batch_size=5)
    assert (fixed.asked[0], sum(fixed.asked)) == (expected, 5)


def test_crops_count_as_pixels_too(trained):
    checkpoint = read_checkpoint(trained("macnn"))
    _, network = new_part_cnn(
        checkpoint, resolve(flags={"data.image_size": 128, "part_cnn.stream_size": 32}).settings
    )
    assert Recogniser(network).pixels == 128**2 + 6 * 32**2


def test_a_part_box_is_as_large_as_the_crops_of_a_part_cnn_or_those_of_the_paper(trained):
    checkpoint = read_checkpoint(trained("macnn"))
    _, network = new_part_cnn(
        checkpoint, resolve(flags={"data.image_size": 64, "part_cnn.part_share": 0.5}).settings
    )
    for recogniser, side in ((open_recogniser(checkpoint), 64 * PART_SHARE),
                             (Recogniser(network).eval(), 32.0)):  # fmt: skip
        with torch.no_grad():
            boxes = recogniser(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).boxes
        assert recogniser.parts == 4
        assert_close(boxes[..., 2:] - boxes[..., :2], torch.full((2, 4, 2), side))


def test_the_model_itself_is_that_of_the_checkpoint(trained, model):
    expected = load_model(read_checkpoint(trained("macnn"))).state_dict()
    assert not model.model.training
    assert all(torch.equal(value, expected[k]) for k, value in model.model.state_dict().items())
