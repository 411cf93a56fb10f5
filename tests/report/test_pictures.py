import base64
import io

import pytest
import torch
from PIL import Image

from macnn.data.samples import ImageSet, Sample
from macnn.evaluation.predictions import Places, Predictions
from macnn.model.alignment import CellGrid
from macnn.report.pictures import Album


@pytest.mark.parametrize("size", [(448, 448), (600, 448)])
def test_a_crop_shows_the_box_of_a_part_no_more_and_no_less(tmp_path, size):
    """A box has 96/448 of the shorter side, as the boxes of predictions."""
    picture = Image.new("RGB", size)
    for reach, grey in ((48, 255), (40, 128)):  # a white frame just inside the box
        picture.paste((grey,) * 3, (200 - reach, 220 - reach, 200 + reach, 220 + reach))
    picture.save(tmp_path / "box.png")
    images = ImageSet("box", tmp_path, (Sample(tmp_path / "box.png", 0, "test"),), ("box",))
    centres, maps = torch.tensor([[[200.0, 220.0]]]), torch.full((1, 1, 2, 2), 0.25).half()
    grid = CellGrid((2, 2), (1.0, 1.0), (2.0, 2.0))
    places = Places(maps, centres, torch.zeros(1, 0, dtype=torch.int64), grid)
    zero = torch.zeros(1, dtype=torch.int64)
    album = Album(images, Predictions(zero, zero, None, places), image_size=4, mode="crop")
    (crop,) = album.crops(0)
    encoded = str(crop).partition("base64,")[2].partition('"')[0]
    shown = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("L")
    side = shown.width
    assert min(shown.getpixel((i, j)) for i in range(side) for j in (0, side - 1)) > 200
    assert min(shown.getpixel((j, i)) for i in range(side) for j in (0, side - 1)) > 200
