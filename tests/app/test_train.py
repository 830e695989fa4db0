"""The configuration of `crossray train matcher`: samples as the matcher takes them, whatever words change its form."""

import pytest

from crossray.app.commands.train import resolved
from crossray.errors import InputError


def test_samples_have_the_form_of_the_matcher():
    config, data = resolved(None, "tiny", None, ["matcher.image_size=[256,128]"])
    assert data.sample.views.size == config.matcher.image_size == (256, 128)
    assert config.data["sample"]["views"]["size"] == [256, 128]

    _, data = resolved(None, "tiny", None, ["matcher.patch=32", "matcher.token_stride=1"])
    assert (data.sample.patch, data.sample.thin) == (32, 2)

    words = ["matcher.input_stride=1", "matcher.token_stride=1", "seed=3"]
    _, data = resolved(None, "tiny", 5, words)
    assert (data.sample.patch, data.sample.thin, data.sample.truth_block) == (16, 1, 2)
    assert (data.seed, data.phantoms) == (3, 5)


def test_words_about_the_samples_come_last():
    config, data = resolved(None, "tiny", 5, ["data.sample.thin=1", "data.seed=4", "seed=3"])
    assert (data.sample.thin, data.seed, config.seed) == (1, 4, 3)


@pytest.mark.parametrize("word", ["data.sample.patch=32", "data.sample.views.size=[128,128]"])
def test_samples_of_another_form_are_refused(word):
    with pytest.raises(InputError, match="not what the matcher takes"):
        resolved(None, "tiny", None, [word])


def test_a_negative_seed_of_the_data():
    with pytest.raises(InputError, match=r"data\.seed=-1: a seed is 0 or more\.$"):
        resolved(None, "tiny", None, ["data.seed=-1"])
