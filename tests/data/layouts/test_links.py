import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from macnn.data.check import check
from macnn.data.layouts import open_data_set
from macnn.errors import DataError


@pytest.fixture
def secret(tmp_path):
    """A picture of somebody else's, in a folder of its own."""
    (tmp_path / "private").mkdir()
    Image.new("RGB", (40, 36)).save(tmp_path / "private" / "secret.png")
    return tmp_path / "private" / "secret.png"


@pytest.fixture
def folders(tmp_path, write_images):
    write_images(tmp_path / "set", ["wren/1.png", "wren/2.png", "robin/1.png", "robin/2.png"])
    return tmp_path / "set"


@pytest.fixture
def cub(birds, tmp_path):
    return shutil.copytree(birds, tmp_path / "cub")


def first_image(root):
    return root / "images" / (root / "images.txt").read_text().split("\n")[0].split(maxsplit=1)[1]


def linked(root, secret, layout, what):
    """Put a link in the place of an image, or of the folder that holds it."""
    image = first_image(root) if layout == "cub" else root / "wren" / "1.png"
    if what == "file":
        image.unlink()
        image.symlink_to(secret)
    else:
        secret.rename(secret.with_name(image.name))
        shutil.rmtree(image.parent)
        image.parent.symlink_to(secret.parent)
    return image


@pytest.mark.parametrize("what", ["file", "folder"])
@pytest.mark.parametrize("layout", ["cub", "folders"])
def test_a_link_out_of_the_data_set_is_refused_unless_allowed(request, secret, layout, what):
    root = request.getfixturevalue(layout)
    image = linked(root, secret, layout, what)
    with pytest.raises(DataError) as refused:
        open_data_set(root)
    assert str(refused.value).startswith(f"{image}: a link leads out of the data set, to ")
    assert str(refused.value).endswith("put the image itself there, or use `data.allow_links=true`")
    assert image in {sample.path for sample in open_data_set(root, allow_links=True).samples}


def test_every_link_out_of_the_data_set_is_a_finding_that_stops_unless_allowed(folders, secret):
    for number in (1, 2):
        (folders / "wren" / f"{number}.png").unlink()
        (folders / "wren" / f"{number}.png").symlink_to(secret)
    for allowed in (False, True):
        report = check(folders, allow_links=allowed)
        found = [finding for finding in report.findings if finding.kind == "link"]
        assert [finding.stops for finding in found] == [not allowed] * 2
        assert report.stops is not allowed
        assert all(str(secret) in finding.text for finding in found)


def test_a_check_stops_with_exit_code_3_unless_links_are_allowed(folders, secret, macnn):
    linked(folders, secret, "folders", "file")
    code, out, _ = macnn("data", "check", folders, "-q")
    assert code == 3
    assert "use --set data.allow_links=true" in out.replace("\n", " ")
    assert macnn("data", "check", folders, "-q", "--set", "data.allow_links=true")[0] == 0


def test_links_within_the_data_set_and_to_it_are_followed(folders, tmp_path):
    (folders / "wren" / "3.png").symlink_to("../robin/1.png")
    (tmp_path / "link").symlink_to(folders)
    assert len(open_data_set(tmp_path / "link").samples) == 5


def test_a_link_to_nowhere_or_to_itself_is_left_to_whoever_reads_it(folders):
    (folders / "wren" / "3.png").symlink_to("nowhere.png")
    (folders / "wren" / "4.png").symlink_to("4.png")
    assert len(open_data_set(folders).samples) == 6


@pytest.mark.parametrize("name", ["{secret}", "../../private/secret.png", "a/../../x.png"])
def test_a_list_cannot_name_images_elsewhere_even_where_links_are_allowed(cub, secret, name):
    file = cub / "images.txt"
    lines = file.read_text().split("\n")
    lines[0] = "1 " + name.format(secret=secret)
    file.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"listed, but lies outside .*/images; a list names"):
        open_data_set(cub, allow_links=True)


def column(*texts):
    return np.array([[text] for text in texts], dtype=object)


def test_lists_of_other_layouts_cannot_either(tmp_path, write_images, write_structs):
    roots = {name: tmp_path / name for name in ("pets", "aircraft", "dogs", "cars")}
    write_images(roots["pets"] / "images", ["a_1.jpg"])
    (roots["pets"] / "annotations").mkdir()
    (roots["pets"] / "annotations" / "trainval.txt").write_text("../a_1 1 1 1\n")
    (roots["pets"] / "annotations" / "test.txt").write_text("b_1 2 1 1\n")
    write_images(roots["aircraft"] / "images", ["1.jpg"])
    (roots["aircraft"] / "variants.txt").write_text("A\nB\n")
    (roots["aircraft"] / "images_variant_trainval.txt").write_text("/1 A\n2 B\n")
    (roots["aircraft"] / "images_variant_test.txt").write_text("3 A\n")
    write_images(roots["dogs"] / "Images", ["n1-A/1.jpg"])
    for name in ("train_list.mat", "test_list.mat"):
        paths = column("n1-A/../../1.jpg", "n2-B/1.jpg")
        savemat(roots["dogs"] / name, {"file_list": paths, "labels": np.array([[1], [2]])})
    write_images(roots["cars"] / "car_ims", ["1.jpg"])
    fields = ["relative_im_path", "class", "test"]
    write_structs(
        roots["cars"] / "cars_annos.mat", "annotations", fields, [("/etc/1.jpg", 1, 0)],
        class_names=np.array([["A", "B"]], dtype=object),
    )  # fmt: skip
    for name, root in roots.items():
        with pytest.raises(DataError, match="listed, but lies outside"):
            open_data_set(root, name)


def test_a_manifest_may_and_it_is_said_how_many_it_names(folders, secret):
    file = folders / "all.csv"
    file.write_text(f"path,label\nwren/1.png,a\n{secret},a\n../private/secret2.png,b\n")
    images = open_data_set(file)
    assert images.notes[-1] == f"2 images outside {folders}"
    report = check(file)
    assert [f.path for f in report.findings if f.kind == "link" and not f.stops] == [
        str(sample.path) for sample in images.samples[1:]
    ]
