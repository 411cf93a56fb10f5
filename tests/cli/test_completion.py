"""What a shell asks when the user presses tab, once `macnn --install-completion` has been run."""

import pytest


@pytest.fixture
def complete(macnn, monkeypatch):
    def ask(words):
        monkeypatch.setenv("_MACNN_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
        code, out, err = macnn()
        assert (code, err) == (0, "")
        return out.split()

    return ask


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("macnn pred", {"predict"}),
        ("macnn data ", {"layouts", "check", "cache", "synth"}),
        ("macnn train --img", {"--img-size"}),
        ("macnn train --precision ", {"fp32", "bf16", "fp16"}),
    ],
)
def test_commands_options_and_values_are_completed(complete, words, offered):
    assert set(complete(words)) == offered


def test_completion_is_there_to_install(macnn):
    _, out, _ = macnn("--help")
    assert "--install-completion" in out
