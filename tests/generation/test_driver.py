"""Sets that are really made, killed, starved and mended: the end is always the same bytes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from crossray.app.commands.generate import set_config
from crossray.data.sample import make_sample, prepare
from crossray.data.shards import MANIFEST, Shards, members_of, read_sample
from crossray.data.store import Store
from crossray.data.synthetic import clean_ct
from crossray.errors import InputError
from crossray.files import sha256
from crossray.generation.driver import generate
from crossray.generation.engines import local
from crossray.generation.verify import verify
from crossray.generation.work import make_shard

BESIDE = {"README.md", "manifest.json", "plan.json", "preview.png", "statistics.json"}


def contents(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): sha256(file) for file in files}


@pytest.fixture
def made(config, tmp_path) -> dict[str, str]:
    """What the set holds when nothing disturbs it."""
    generate(config, tmp_path / "undisturbed", tmp_path / "cache", map)
    return contents(tmp_path / "undisturbed")


def test_a_set(config, cts, tmp_path):
    threads = torch.get_num_threads()
    report = generate(config, tmp_path / "set", tmp_path / "cache", map)
    shards = sorted(file.name for file in (tmp_path / "set" / "shards").glob("*.tar"))
    assert str(report).endswith(
        f"is complete: 9 samples in {len(shards)} shards, {len(shards)} of them new."
    )
    assert set(contents(tmp_path / "set")) >= BESIDE
    assert verify(tmp_path / "set") == []
    assert torch.get_num_threads() == threads
    again = generate(config, tmp_path / "set", tmp_path / "cache", map)
    assert str(again).endswith("all there before.")
    card = (tmp_path / "set" / "README.md").read_text()
    assert "| b.nii.gz | bob | val | CC BY 4.0 |" in card
    statistics = json.loads((tmp_path / "set" / "statistics.json").read_text())
    assert statistics["all"]["samples"] == 9
    assert statistics["split val"]["people"] == 1
    assert 0 < statistics["all"]["positive"] < 1
    assert (
        len(Shards(tmp_path / "set", split="train")) + len(Shards(tmp_path / "set", split="val"))
        == 9
    )


def test_a_stored_sample_is_the_one_drawn_on_the_fly(config, cts, tmp_path):
    generate(config, tmp_path / "set", tmp_path / "cache", map)
    shard = tmp_path / "set" / "shards" / "000000.tar"
    offset, size = members_of(shard)[1]["json"]
    about = json.loads(shard.read_bytes()[offset : offset + size])
    assert (about["volume"]["name"], about["volume"]["person"], about["sample"]) == (
        "a.nii.gz",
        "ann",
        1,
    )
    volume = clean_ct(cts / "a.nii.gz")
    drawn = make_sample(prepare(volume, config.sample), about["seed"], config.sample)
    stored = read_sample(shard, 1)
    torch.testing.assert_close(stored["images"], drawn.images, rtol=0, atol=0.51 / 65535)
    assert torch.equal(stored["correspondence"], drawn.correspondence.half().float())
    assert [look["seed"] for look in about["looks"]] == [look.seed for look in drawn.looks]


def test_neither_workers_nor_the_place_change_a_byte(config, made, tmp_path):
    generate(config, tmp_path / "two", tmp_path / "cold", partial(local, workers=2))
    assert contents(tmp_path / "two") == made
    memory = Store(f"memory://{tmp_path}/set")
    generate(config, memory.url, tmp_path / "cache", map)
    assert memory.read(MANIFEST) == (tmp_path / "two" / MANIFEST).read_bytes()
    assert verify(memory.url) == []


def test_a_shard_that_came_first_stays_and_is_recorded(config, made, tmp_path):
    """An object store keeps the first of two; a record lost in between is written again, a damaged object goes."""
    store = Store(f"memory://{tmp_path}/set")
    generate(config, store.url, tmp_path / "cache", map)
    whole = store.read("shards/000000.tar")
    store.delete("shards/000000.json")
    store.write("shards/000001.json", b"{")
    store.write("shards/000002.tar", b"damaged")
    assert generate(config, store.url, tmp_path / "cache", map).made == 3
    assert store.read("shards/000000.tar") == whole
    assert verify(store.url) == []
    undisturbed = tmp_path / "undisturbed"
    assert store.read("shards/000000.json") == (undisturbed / "shards/000000.json").read_bytes()


def test_another_version_is_refused(config, tmp_path, monkeypatch):
    monkeypatch.setattr("crossray.generation.work.version", lambda _: "0.0")
    with pytest.raises(InputError, match=r"A worker has crossray 0.0 and the set"):
        generate(config, tmp_path / "set", tmp_path / "cache", map)


def test_a_folder_of_other_files_is_refused_and_left_alone(config, tmp_path):
    for name in ("README.md", ".zshrc.local"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        generate(config, tmp_path, tmp_path / "cache", map)
    generate(config, tmp_path / "set", tmp_path / "cache", map)
    (tmp_path / "set" / ".zshrc.local").write_text("mine")
    (tmp_path / "set" / ".0123abcd.plan.json").write_text("half")
    generate(config, tmp_path / "set", tmp_path / "cache", map)
    hidden = [file.name for file in (tmp_path / "set").iterdir() if file.name[0] == "."]
    assert hidden == [".zshrc.local"]


def test_a_damaged_cache_is_made_again(config, made, tmp_path):
    for file in (tmp_path / "cache").rglob("*.npz"):
        file.write_bytes(file.read_bytes()[:2000])
    generate(config, tmp_path / "set", tmp_path / "cache", map)
    assert contents(tmp_path / "set") == made


@pytest.mark.parametrize("url", ["/dev/null", "nowhere"])
def test_verify_refuses_what_is_no_set(url, tmp_path):
    with pytest.raises(InputError, match=r"cannot be read|holds no manifest"):
        verify(url)


def test_a_run_that_fails_goes_on(config, made, tmp_path, monkeypatch):
    """The third shard finds no room; what was made stays."""
    calls = []

    def full(plan, shard, url, cache):
        calls.append(shard)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return make_shard(plan, shard, url, cache)

    monkeypatch.setattr("crossray.generation.driver.make_shard", full)
    with pytest.raises(InputError, match=r"No space left .* give the same command again"):
        generate(config, tmp_path / "set", tmp_path / "cache", map)
    assert len(contents(tmp_path / "set")) == 1 + 2 * 2
    report = generate(config, tmp_path / "set", tmp_path / "cache", map)
    assert report.made == report.shards - 2
    assert contents(tmp_path / "set") == made


def test_lost_cts(config, cts, tmp_path):
    lost = replace(config, ct=str(tmp_path / cts.name))
    (tmp_path / cts.name).symlink_to(cts)
    engine = partial(fail_after, shards=1)
    with pytest.raises(InputError, match="lost"):
        generate(lost, tmp_path / "set", tmp_path / "cache", engine)
    (tmp_path / cts.name).unlink()
    with pytest.raises(InputError, match=r"does not exist|No such file"):
        generate(lost, tmp_path / "set", tmp_path / "other cache", map)
    (tmp_path / cts.name).symlink_to(cts)
    generate(lost, tmp_path / "set", tmp_path / "other cache", map)
    assert verify(tmp_path / "set") == []


def fail_after(work, tasks, shards) -> Iterator:
    for number, task in enumerate(tasks):
        if work.func is make_shard and number == shards:
            raise OSError("lost")
        yield work(task)


def test_verify_names_every_damage_and_the_same_command_mends_it(config, made, tmp_path):
    folder = tmp_path / "undisturbed"
    shards = sorted((folder / "shards").glob("*.tar"))
    whole = shards[0].read_bytes()
    shards[0].write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    shards[1].write_bytes(shards[1].read_bytes()[:-512])
    shards[2].unlink()
    (folder / "shards" / "999999.tar").write_bytes(b"")
    problems = verify(folder)
    assert [problem.split()[0] for problem in problems] == [
        *(f"shards/{shard.name}" for shard in shards[:3]),
        "shards/999999.tar",
    ]
    for shard in (*shards[:3], folder / "shards" / "999999.tar"):
        shard.unlink(missing_ok=True)
    assert generate(config, folder, tmp_path / "cache", map).made == 3
    assert contents(folder) == made


def command(cts: Path, out: Path, cache: Path) -> list[str]:
    words = ["--pairs", "24", "--shard-size", "1", "--workers", "2", "--seed", "5"]
    paths = ["--ct", str(cts), "--out", str(out), "--cache", str(cache)]
    return [sys.executable, "-m", "crossray.app.cli", "generate", *paths, *words]


@pytest.fixture(scope="module")
def calm(cts, tmp_path_factory) -> dict[str, str]:
    """What the command makes when nobody kills it."""
    folder = tmp_path_factory.mktemp("calm")
    config = set_config(cts, 24, 2, 5, "clinical", "exact", 1)
    generate(config, folder / "set", folder / "cache", map)
    return contents(folder / "set")


def children(pid: int) -> list[int]:
    """Processes below one, by the kernel's own list."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds workers by Linux's /proc")
@pytest.mark.parametrize("victim", ["worker", "driver", "terminal"])
def test_kill(cts, calm, tmp_path, victim):
    """kill -9 of a worker or the driver, or Ctrl-C: no orphan, no half shard, and the same bytes at the end."""
    out, words = tmp_path / "set", command(cts, tmp_path / "set", tmp_path / "cache")
    # Whoever runs the tests in a shell's background has them ignore Ctrl-C; the program must not inherit that.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        words, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=heed
    ) as run:
        until(lambda: len(list((out / "shards").glob("0*.tar"))) >= 2)
        workers = children(run.pid)
        if victim == "worker":
            spawned = [
                p for p in workers if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()
            ]
            os.kill(spawned[0], signal.SIGKILL)
        elif victim == "driver":
            run.kill()
        else:
            os.killpg(run.pid, signal.SIGINT)
        words_of_run = run.communicate(timeout=120)[1].decode()
    assert run.returncode == {"worker": 0, "driver": -9, "terminal": 130}[victim], words_of_run
    until(lambda: not any(map(alive, workers)), 30)
    if victim == "terminal":
        assert re.search(r"crossray: Interrupted.\s*$", words_of_run)
        assert "Traceback" not in words_of_run
    subprocess.run(words, check=True, capture_output=True)
    assert verify(out) == []
    assert contents(out) == calm


def test_a_disk_that_is_really_full(config, made, tmp_path):
    out = tmp_path / "small disk"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(out)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user cannot mount a small disk")
    try:
        with pytest.raises(InputError, match="No space left on device"):
            generate(config, out, tmp_path / "cache", map)
        assert not [file for file in (out / "shards").iterdir() if file.name.startswith(".")]
        subprocess.run(["mount", "-o", "remount,size=20m", str(out)], check=True)
        assert generate(config, out, tmp_path / "cache", map).made > 0
        assert contents(out) == made
    finally:
        subprocess.run(["umount", str(out)], check=True)
