"""The command line as a stranger meets it: help at once, one sentence and exit code 2 for every bad input."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from crossray.app import cli, running

HELPS = [[], ["--help"], ["train"], ["evaluate"]] + [
    [*words.split(), "--help"]
    for words in (
        "demo",
        "match",
        "render",
        "doctor",
        "generate",
        "verify",
        "train matcher",
        "evaluate matcher",
        "evaluate films",
    )
]


def refused(capfd, arguments, *words):
    """Run a command line that must be refused with one sentence that holds `words`."""
    assert cli.run([str(argument) for argument in arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("crossray: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    for word in words:
        assert str(word) in err


@pytest.fixture
def films(tmp_path):
    """Two films in a folder of their own."""
    (tmp_path / "in").mkdir()
    paths = []
    for name in ("ap", "lat"):
        ramp = np.random.default_rng(len(paths)).integers(0, 255, (80, 60)).astype(np.uint8)
        paths.append(tmp_path / "in" / f"{name}.png")
        Image.fromarray(ramp).save(paths[-1])
    return paths


@pytest.mark.parametrize("arguments", HELPS, ids=" ".join)
def test_help_is_printed(capfd, arguments):
    assert cli.run(arguments) == 0
    out, err = capfd.readouterr()
    assert out.startswith("Usage: crossray")
    assert err == ""


@pytest.mark.parametrize("arguments", ["--help", "match --help", "train matcher --help"])
def test_help_comes_at_once_and_imports_nothing_heavy(arguments):
    """Neither torch nor numpy nor matplotlib, which is what makes it quick; the seconds are bounded for any machine."""
    script = (
        "import sys, time; from crossray.app import cli; cli.run(sys.argv[1:]);"
        "print(sorted({'torch', 'numpy', 'matplotlib', 'pydicom'} & set(sys.modules)), time.process_time())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments.split()],
        capture_output=True,
        text=True,
        check=True,
    )
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("[] ")
    assert float(last.removeprefix("[] ")) < 2.0


def test_the_version(capfd):
    assert cli.run(["--version"]) == 0
    assert capfd.readouterr().out.startswith("crossray 0.")


def test_match_writes_its_files_and_says_so(capfd, films, weights, tmp_path):
    out = tmp_path / "out"
    assert cli.run(["match", *map(str, films), "--out", str(out), "--weights", str(weights)]) == 0
    printed = capfd.readouterr().out
    for name in ("matches.npz", "matches.json", "matches.png", "matches.html"):
        assert (out / name).stat().st_size > 100
        assert str(out / name) in printed
    assert "ap - lat: strongest" in printed
    narrow = ["--out", str(tmp_path / "narrow"), "--weights", str(weights), "--grid"]
    assert cli.run(["match", *map(str, films), *narrow, "16x8"]) == 0
    assert json.loads((tmp_path / "narrow/matches.json").read_text())["grid"] == [16, 8]
    capfd.readouterr()
    refused(capfd, ["match", *map(str, films), *narrow, "16"], "--grid 16 is no grid", "16x8")


def test_usage_errors(capfd):
    refused(capfd, ["nope"], "nope", "crossray --help")
    refused(capfd, ["match", "a.png"], "--out", "crossray match --help")
    refused(capfd, ["match", "--out", "x"], "films", "crossray match --help")
    refused(capfd, ["demo", "--limb", "head"], "head", "hand")
    refused(capfd, ["demo", "--pairs", "many"], "--pairs")
    refused(capfd, ["demo", "--colour", "red"], "--colour")
    refused(capfd, ["train", "detector"], "detector", "crossray train --help")
    refused(capfd, ["train", "classifier"], "--data", "crossray train classifier --help")


def test_bad_films(capfd, films, weights, tmp_path):
    def match(*given):
        return ["match", *given, "--out", tmp_path / "out", "--weights", weights]

    (tmp_path / "in/text.png").write_text("no image")
    (tmp_path / "in/empty.png").touch()
    (tmp_path / "in/cut.png").write_bytes(films[0].read_bytes()[:300])
    Image.new("L", (64, 64), 9).save(tmp_path / "in/blank.png")
    Image.new("L", (8, 8), 9).save(tmp_path / "in/small.png")
    refused(capfd, match(films[0]), "2 to 6 views", "got 1")
    refused(capfd, match(*films * 4), "2 to 6 views", "got 8")
    refused(capfd, match(films[0], tmp_path / "nowhere.png"), "nowhere.png", "does not exist")
    refused(capfd, match(films[0], tmp_path), "is a folder")
    for name in ("text", "empty", "cut", "blank", "small"):
        refused(capfd, match(films[0], tmp_path / f"in/{name}.png"), f"{name}.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_bad_weights(capfd, films, weights, tmp_path):
    def match(given):
        return ["match", *films, "--out", tmp_path / "out", "--weights", given]

    broken = bytearray(weights.read_bytes())
    (tmp_path / "in/cut.safetensors").write_bytes(broken[: len(broken) // 2])
    (tmp_path / "in/pickle.safetensors").write_bytes(b"\x80\x04\x95pickle")
    torch.save({"a": torch.ones(2)}, tmp_path / "in/zip.pt")
    refused(capfd, match("large"), "no weights large", "small")
    for name in ("cut.safetensors", "pickle.safetensors", "zip.pt"):
        refused(capfd, match(tmp_path / "in" / name), name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_weights_of_another_shape(capfd, films, weights, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(weights, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    name = next(iter(tensors))
    other = tmp_path / "in/other.safetensors"
    save_file({**tensors, name: torch.zeros(3, 3)}, other, metadata)
    refused(
        capfd, ["match", *films, "--out", tmp_path / "out", "--weights", other], "other.safetensors"
    )


def test_an_out_folder_that_is_a_file(capfd, films, weights, tmp_path):
    (tmp_path / "taken").write_text("mine")
    arguments = ["match", *films, "--out", tmp_path / "taken", "--weights", weights]
    refused(capfd, arguments, "taken", "cannot be written")
    assert (tmp_path / "taken").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "taken"]


def test_an_unforeseen_error_is_one_sentence(capfd, films, weights, monkeypatch, tmp_path):
    def fail(*_):
        raise RuntimeError("the lamp\nis out")

    monkeypatch.setattr("crossray.matching.Matcher.match", fail)
    arguments = [
        "match",
        *map(str, films),
        "--out",
        str(tmp_path / "out"),
        "--weights",
        str(weights),
    ]
    monkeypatch.delenv(running.TRACEBACK, raising=False)
    assert cli.run(arguments) == 1
    err = capfd.readouterr().err
    assert (
        err == f"crossray: RuntimeError: the lamp is out (set {running.TRACEBACK}=1 to see where)\n"
    )
    monkeypatch.setenv(running.TRACEBACK, "1")
    with pytest.raises(RuntimeError, match="the lamp"):
        cli.run(arguments)


def test_ctrl_c_is_130(capfd, films, weights, monkeypatch, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("crossray.matching.Matcher.match", interrupt)
    arguments = [
        "match",
        *map(str, films),
        "--out",
        str(tmp_path / "out"),
        "--weights",
        str(weights),
    ]
    assert cli.run(arguments) == 130
    assert "Traceback" not in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_program_ends_with_the_code(tmp_path):
    """Once through the real program, in a process of its own."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "crossray.app.cli", "match", "a.png", "b.png", "--out", "out"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert time.perf_counter() - start < 60


def test_the_doctor(capfd, monkeypatch, tmp_path):
    from crossray.app.commands import doctor

    def broken():
        raise RuntimeError("this one\nis broken")
        yield

    monkeypatch.setattr(doctor, "_weights", lambda: iter([(True, "weights are fine")]))
    monkeypatch.chdir(tmp_path)
    assert cli.run(["doctor"]) == 0
    out = capfd.readouterr().out
    assert "BAD" not in out
    assert "DICOM JPEG 2000: can be read" in out
    assert "numba compiles and runs" in out
    monkeypatch.setattr(doctor, "_weights", broken)
    assert cli.run(["doctor"]) == 1
    assert "BAD  broken: RuntimeError: this one is broken\n" in capfd.readouterr().out
