"""Right files to make wrong ones of: data sets, runs of every kind, an export, a cache."""

import os
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from scipy.io import savemat
from watched import bounded

from macnn_cli import main

DATA = ("--data", "birds", "--threads", 1, "-q")
SHORT = (*DATA, "--img-size", 32, "--batch-size", 4, "--set", "data.validation=0")
KEEP = ("--set", "run.keep_checkpoints=1")
TRAIN = (*SHORT, "--rounds", 2, "--epochs", 1, "--grouping-steps", 1)


def make(folder):
    """Write a data set of four classes, runs of every kind, an export, a cache, MATLAB lists.

    All in this process, which thereby has imported and begun whatever its children will need.
    """
    torch.set_num_threads(1)  # no threads that a fork would lose
    folder.mkdir()
    os.chdir(folder)

    here("data", "synth", "--output", "birds", "--images-per-class", 2, "--size", 40, "-q")
    _keep_classes(Path("birds"), 4)
    hidden = ("--set", "model.hidden=8", "--restarts", 2, "--fit-steps", 2)
    here("pretrain-parts", *SHORT, *hidden, "--parts", 2, "--output", "parts")
    start = ("train", "--init", "parts", *TRAIN)
    here(*start, "--save-every", 1, *KEEP, "--output", "stopped", code=75, stop=3)
    here(*start, *KEEP, "--output", "trained")
    here("train", "--init", "parts", *TRAIN[:-2], *KEEP, "--parts", 0, "--output", "baseline")
    streams = (*KEEP, "--stream-epochs", 1, "--stream-size", 32)
    here("train-part-cnn", "--init", "trained", *SHORT, *streams, "--output", "streams")
    for run in ("parts", "trained", "baseline"):
        here("eval", "--checkpoint", run, *DATA)
    here("export", "--checkpoint", "trained", "--output", "export", "-q")
    here("data", "cache", "--data", "birds", "--img-size", 32, "--output", "cache", "-q")
    images = sorted(Path("birds/images").rglob("*.jpg"))
    Path("photos").mkdir()
    shutil.copyfile(images[0], "photos/a.jpg")
    places = (
        "flowers/jpg/image_{:05}.jpg", "cars/car_ims/image_{:05}.jpg", "classes/a/{}.jpg",
        "dogs/Images/n1-Pug/{}.jpg", "dogs/Images/n2-Boxer/{}.jpg", "classes/b/{}.jpg",
        "aircraft/images/{}.jpg", "pets/images/Pug_{}.jpg", "pets/images/Boxer_{}.jpg",
        "listed/{}.jpg",
    )  # fmt: skip
    for number, image in enumerate(images):
        for place in places:
            file = Path(place.format(number))
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(image, file)
    rows = [f"{n}.jpg,{'ab'[n % 2]},{('train', 'test')[n // 2 % 2]}" for n in range(len(images))]
    Path("listed/list.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    for name, variables in MATLAB.items():
        savemat(name, variables)
    for name, text in LISTS.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    for data in ("birds", "aircraft", "cars", "classes", "dogs", "flowers", "listed", "pets"):
        here("data", "check", data, "-q")  # all are right, until one is changed


def here(*arguments, code=0, stop=None):
    """Run the command line in this process."""
    sys.argv = ["macnn", *map(str, arguments)]
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(said), bounded(stop):
        try:
            main.run()
        except SystemExit as left:
            ended = left.code
    if ended != code:
        raise RuntimeError(f"{arguments}: {ended}, {said.getvalue()}")


def _keep_classes(birds, count):
    """Cut a data set down to its first classes, for speed."""
    kept = [row.split()[0] for row in (birds / "image_class_labels.txt").read_text().splitlines()
            if int(row.split()[1]) <= count]  # fmt: skip
    for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes",
                 "parts/part_locs"):  # fmt: skip
        file = birds / f"{name}.txt"
        rows = [row for row in file.read_text().splitlines() if row.split()[0] in kept]
        file.write_text("\n".join(rows) + "\n")
    names = (birds / "classes.txt").read_text().splitlines()
    (birds / "classes.txt").write_text("\n".join(names[:count]) + "\n")
    for name in names[count:]:
        shutil.rmtree(birds / "images" / name.split()[1])


_CAR = [("relative_im_path", object), ("bbox_x1", object), ("bbox_y1", object),
        ("bbox_x2", object), ("bbox_y2", object), ("class", object), ("test", object)]  # fmt: skip
_CARS = [(f"car_ims/image_{n:05}.jpg", 1, 1, 9, 9, 1 + n % 2, n // 3) for n in range(1, 5)]
_DOGS = np.array([["n1-Pug/0.jpg"], ["n2-Boxer/1.jpg"], ["n1-Pug/2.jpg"]], object)
LISTS = {
    "aircraft/variants.txt": "707\nA300\n",
    "aircraft/images_variant_train.txt": "0 707\n1 A300\n",
    "aircraft/images_variant_val.txt": "2 707\n",
    "aircraft/images_variant_test.txt": "3 A300\n",
    "aircraft/images_box.txt": "0 1 1 9 9\n1 1 1 9 9\n",
    "pets/annotations/trainval.txt": "Pug_0 1 2 1\nBoxer_1 2 2 2\n",
    "pets/annotations/test.txt": "Pug_2 1 2 1\nBoxer_3 2 2 2\n",
    "dogs/Annotation/n1-Pug/0": "<annotation><object><bndbox>\n<xmin>1</xmin>\n"
    "<ymin>1</ymin>\n<xmax>9</xmax>\n<ymax>9</ymax>\n</bndbox></object></annotation>\n",
}
MATLAB = {
    "flowers/imagelabels.mat": {"labels": np.array([[1, 2, 1, 2]])},
    "flowers/setid.mat": {
        "trnid": np.array([[1, 2]]), "valid": np.array([[3]]), "tstid": np.array([[4]])
    },
    "cars/cars_annos.mat": {
        "annotations": np.array(_CARS, dtype=_CAR).reshape(1, -1),
        "class_names": np.array([["Audi", "BMW"]], object),
    },
    "dogs/train_list.mat": {"file_list": _DOGS[:2], "labels": np.array([[1], [2]])},
    "dogs/test_list.mat": {"file_list": _DOGS[2:], "labels": np.array([[1]])},
}  # fmt: skip
