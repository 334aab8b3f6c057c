"""The cores that are used are those of the container's quota, wherever the control groups of either version hold it."""

from pathlib import Path

import pytest
import torch

from preprocessing.cli import cores
from preprocessing.cli.cores import default_threads, describe_cores, has_quota, keep_threads_to_quota, usable_cores
from preprocessing.corpus import __main__ as corpus_command
from preprocessing.corpus import levels
from preprocessing.prepare import PrepareConfig
from tests.conftest import DEMO


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_cores", lambda: 8)


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A folder with /proc/self/cgroup and, below /sys/fs/cgroup, these files."""
    below = {f"sys/fs/cgroup/{name}": content for name, content in files.items()}
    for path, content in ({"proc/self/cgroup": groups} | below).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{content}\n")
    return root


def version_1(folder: str, quota: int) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": str(quota), f"{folder}/cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    ("quota", "usable"),
    [("max 100000", 8), ("200000 100000", 2), ("350000 100000", 3), ("5000 100000", 1), ("1600000 100000", 8), ("", 8)],
)
def test_a_containers_quota_bounds_the_cores(quota: str, usable: int, tmp_path: Path) -> None:
    assert usable_cores(machine(tmp_path, "0::/", {"cpu.max": quota})) == usable


@pytest.mark.parametrize(
    ("groups", "files", "usable"),
    [
        ("0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),  # a parent's counts
        ("0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "200000 100000"}, 2),
        ("0::/a", {"a/cpu.max": "max 100000", "a/b/cpu.max": "200000 100000", "c/cpu.max": "100000 100000"}, 8),
        ("0::/../other", {"cpu.max": "200000 100000"}, 2),  # a group outside what the container sees
        ("4:cpu,cpuacct:/\n0::/", version_1("cpu,cpuacct", 200_000), 2),
        ("4:cpuset:/a\n5:cpu:/a/b\n0::/", version_1("cpu/a", 400_000) | version_1("cpu/a/b", -1), 4),
        ("5:cpu,cpuacct:/docker/1f", version_1("cpu", 200_000), 2),  # named as the machine names it, mounted as root
        ("4:cpuset:/a", version_1("cpuset/a", 200_000), 8),  # another controller's
        ("5:cpu:/", {"cpu/cpu.cfs_quota_us": "200000"}, 8),
        ("5:cpu:/", version_1("cpu", 200_000) | {"cpu/cpu.cfs_period_us": "0"}, 8),
    ],
)  # fmt: skip
def test_a_quota_is_found_in_every_group_above_in_both_versions(
    groups: str, files: dict[str, str], usable: int, tmp_path: Path
) -> None:
    root = machine(tmp_path, groups, files)
    assert (usable_cores(root), has_quota(root)) == (usable, usable < 8)
    assert describe_cores(root) == (f"{usable} of 8 cores by the container's quota" if usable < 8 else "8 cores")


def test_without_control_groups_all_cores_count(tmp_path: Path) -> None:
    assert (usable_cores(tmp_path), has_quota(tmp_path), describe_cores(tmp_path)) == (8, False, "8 cores")


def test_torch_keeps_to_the_quota_unless_its_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, taken = machine(tmp_path, "0::/", {"cpu.max": "200000 100000"}), list[int]()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "set_num_threads", taken.append)
        for default, said, threads in ((8, None, 2), (8, "", 2), (1, None, 1), (2, None, 2), (7, "7", 7)):
            patch.delenv("OMP_NUM_THREADS", raising=False)
            if said is not None:
                patch.setenv("OMP_NUM_THREADS", said)
            patch.setattr(torch, "get_num_threads", lambda default=default: default)
            assert default_threads(root) == threads
            keep_threads_to_quota(root)
    assert taken == [2, 2]


def test_commands_start_a_process_for_each_core_of_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = list[int]()
    monkeypatch.setattr(cores, "_quota", lambda root: 2.0)
    monkeypatch.setattr(levels, "UTTERANCES_PER_JOB", 1)
    monkeypatch.setattr(levels, "measure_corpus", lambda *_, workers, **__: (started.append(workers), [])[1])
    config = corpus_command.CorpusConfig(str(DEMO / "corpus" / "test.jsonl"))
    corpus_command._measure(corpus_command._open(config.data, None), config)
    assert [*started, PrepareConfig("corpus.jsonl", tmp_path).processes] == [2, 2]
