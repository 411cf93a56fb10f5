from pathlib import Path

import pytest
from annotated_types import Le, Lt

from macnn.config import Settings, resolve
from macnn.config.renamed import GONE, OPTIONS, RENAMED
from macnn.config.resolve import presets, read_preset, read_toml
from macnn.config.settings import paths
from macnn.config.write import to_toml
from macnn.errors import UsageError


def test_without_anything_given_every_value_is_a_default():
    resolved = resolve(environ={})
    assert resolved.settings == Settings()
    assert set(resolved.sources.values()) == {"default"}


def test_each_layer_overrides_the_ones_below_it(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[train]\nlr = 0.2\nrounds = 2\n[data]\nimage_size = 64\nworkers = 2\n")
    resolved = resolve(
        preset="demo",
        checkpoint=("run", {"data.image_size": 96, "data.batch_size": 8}),
        file=file,
        environ={"MACNN_TRAIN__ROUNDS": "3", "MACNN_DATA__WORKERS": "3"},
        assignments=("data.workers=4",),
        flags={"data.workers": 5, "data.root": None},
    )
    settings, sources = resolved.settings, resolved.sources
    assert (settings.data.batch_size, sources["data.batch_size"]) == (8, "run")
    assert (settings.data.image_size, sources["data.image_size"]) == (64, str(file))
    assert (settings.train.lr, sources["train.lr"]) == (0.2, str(file))
    assert (settings.train.rounds, sources["train.rounds"]) == (3, "environment")
    assert (settings.data.workers, sources["data.workers"]) == (5, "flag")
    assert sources["data.resize_mode"] == "preset demo"
    assert sources["data.root"] == "default"


def test_a_flag_equal_to_the_default_still_counts_as_given():
    resolved = resolve(preset="demo", flags={"data.image_size": 224}, environ={})
    assert resolved.settings.data.image_size == 224
    assert resolved.sources["data.image_size"] == "flag"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("data.img_size=3", "did you mean 'data.image_size'"),
        ("image_size=3", "did you mean 'data.image_size'"),
        ("train.rate=3", "--set: 'train.rate' is now 'train.lr'"),
        ("train.feature_cache=off", "--set: 'train.feature_cache' is gone: "),
        ("data.image_size=3", "greater than or equal to 16"),
        ("train.lr=fast", "train.lr = 'fast' (--set)"),
        ("data.image_size", "expected section.key=value"),
    ],
)
def test_a_bad_assignment_is_refused_with_its_name_and_a_remedy(assignment, message):
    with pytest.raises(UsageError) as refused:
        resolve(assignments=(assignment,), environ={})
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[data]\nroot = ", "not a readable TOML"),
        ("[dat]\nroot = 'x'", "unknown key 'dat.root'"),
        ("[train]\nwarm_up = 1", "'train.warm_up' is now 'train.warmup'"),
        ("data = [1]", "unknown key 'data'"),
        ("[[data]]\nroot = 'x'", "unknown key 'data'"),
        ("[data.root]\nx = 1", "data.root = {'x': 1}"),
        ('"a\\u001b.b.c" = 1', r"unknown key 'a\x1b.b.c'"),
        (f"'{'a' * 9999}' = 1", "a...a"),
        (f"a = {'[' * 9999}", "not a readable TOML"),
        (f"[data]\nroot = {'[' * 200}{']' * 200}", "data.root = [["),
        (f"[train]\nlr = {'9' * 5000}", "not a readable TOML"),
        (f"[train]\nlr = 0x{'f' * 5000}", "train.lr = int"),
        ("[train]\nlr = nan", "finite"),
        ("[train]\nlr = inf", "finite"),
        ('[data]\nroot = "a\\u0000"', "its name does not print"),
        ('[model]\nweights = "a\\u202e"', "does not print"),
        (f"[train]\nlayer_lr_scales = '{'a' * 5000}'", "too long"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, message):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as refused:
        resolve(file=file, environ={})
    assert message in str(refused.value)
    assert str(file) in str(refused.value)
    assert len(str(refused.value)) < 500 + len(str(file))


def test_only_small_regular_files_of_text_are_read(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b"[data]\nroot = 'caf\xe9'")
    (tmp_path / "large.toml").write_text("#" * 2**16)
    for name, message in (
        ("latin.toml", "not UTF-8 at byte 18"),
        ("large.toml", "65,536 bytes, more than"),
        ("", "Is a directory"),
        ("/dev/zero", "not a regular file"),
        ("a\0b", "null byte"),
    ):
        with pytest.raises(UsageError, match=message):
            read_toml(tmp_path / name)


ODD = (
    *(None, {}, [], [[]], "x", "", -1, 2**70, 2**20000, 1e308, float("inf"), float("nan"), True),
    *(b"x", "\0", "\ud800", "9" * 5000, object()),
)


def test_no_value_of_any_setting_is_anything_but_taken_or_refused():
    said = []
    for path in paths():
        for value in ODD:
            for layer in ({"flags": {path: value}}, {"checkpoint": ("run", {path: value})}):
                try:
                    to_toml(resolve(environ={}, **layer).settings).encode()
                except UsageError as refused:
                    said.append(str(refused))
    assert all(text.isprintable() and len(text) < 500 for text in said)
    assert len(said) > 10 * len(paths())


def test_every_integer_is_bounded_from_above_and_every_number_finite():
    for path, field in paths().items():
        limits = [limit for limit in field.metadata if isinstance(limit, Le | Lt)]
        assert limits or field.annotation not in (int, int | None), path
    for field in ("lr", "weight_decay", "margin"):
        with pytest.raises(UsageError, match="finite"):
            resolve(assignments=(f"train.{field}=inf",), environ={})


def test_a_setting_of_an_earlier_version_is_refused_in_the_environment():
    with pytest.raises(UsageError, match=r"environment: 'train.rate' is now 'train.lr'"):
        resolve(environ={"MACNN_TRAIN__RATE": "1"})


@pytest.mark.parametrize("path", [*RENAMED.values(), *OPTIONS.values()])
def test_what_settings_are_called_now_is_a_setting(path):
    assert path in paths()


def test_no_setting_that_there_is_counts_as_an_earlier_one():
    assert not paths().keys() & {*RENAMED, *GONE}


def test_missing_file_and_unknown_preset_are_refused():
    with pytest.raises(UsageError, match="no such file"):
        resolve(file=Path("nowhere.toml"), environ={})
    with pytest.raises(UsageError, match="choose from"):
        resolve(preset="demmo", environ={})


def test_written_settings_are_read_back_unchanged(tmp_path):
    settings = resolve(
        flags={"data.root": Path('a "quoted" folder/ü'), "model.hidden": 3}, environ={}
    ).settings
    file = tmp_path / "config.toml"
    file.write_text(to_toml(settings))
    assert resolve(file=file, environ={}).settings == settings


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_valid(name):
    assert resolve(preset=name, environ={}).settings


@pytest.mark.parametrize("name", ["cub", "aircraft", "cars"])
def test_the_paper_s_data_sets_differ_in_their_name_alone(name):
    own, base = read_preset(f"paper-{name}"), read_preset("paper")
    assert own == base | {"data.dataset": name}


def test_every_setting_has_a_description_a_source_and_no_flag_of_another():
    flags = [flag for field in paths().values() if (flag := field.json_schema_extra["flag"])]
    assert len(set(flags)) == len(flags)
    for field in paths().values():
        assert field.description
        assert field.json_schema_extra["source"]


def test_tables_of_a_file_become_dotted_paths(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("top = 1\n[data]\nroot = 'x'\n")
    assert read_toml(file) == {"top": 1, "data.root": "x"}
