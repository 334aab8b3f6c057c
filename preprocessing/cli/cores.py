"""How many cores this process computes with: those that it may run on, or fewer where its container has a quota.

A container's quota (`docker run --cpus 2`) is of processor time in a period, shared by all its threads: with more
threads than it grants cores, all of them stop together at the end of each period. Linux keeps it in control groups
(cgroups): version 2 in cpu.max, version 1 in cpu.cfs_quota_us and cpu.cfs_period_us. The quota of a group bounds all
groups below it.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from preprocessing.errors import counted

ROOT = Path("/")
GROUPS = Path("sys/fs/cgroup")
THREADS_VARIABLE = "OMP_NUM_THREADS"


def usable_cores(root: Path = ROOT) -> int:
    """The cores that this process may run on, or as many whole ones as its container's quota grants, at least 1.

    root: folder of /proc and /sys.
    """
    cores, quota = _cores(), _quota(root)
    return cores if quota is None else max(min(cores, int(quota)), 1)


def has_quota(root: Path = ROOT) -> bool:
    """Whether a quota grants fewer cores than this process may run on."""
    return usable_cores(root) < _cores()


def describe_cores(root: Path = ROOT) -> str:
    """`usable_cores` in words, and where the number comes from if it is a quota.

    "64 cores", or "2 of 64 cores by the container's quota".
    """
    described = counted(_cores(), "core")
    return f"{usable_cores(root)} of {described} by the container's quota" if has_quota(root) else described


def default_threads(root: Path = ROOT) -> int:
    """Threads of torch on a CPU: its default within the container's quota, or what OMP_NUM_THREADS says."""
    import torch

    threads = torch.get_num_threads()
    return threads if os.environ.get(THREADS_VARIABLE) else min(threads, usable_cores(root))


def keep_threads_to_quota(root: Path = ROOT) -> None:
    """torch computes with `default_threads` from here on."""
    import torch

    threads = default_threads(root)
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota(root: Path) -> float | None:
    """The least quota of the groups that this process is in, in cores; None where none has one."""
    quotas = [quota for folder in _groups(root) if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """Folders of the groups of this process that a quota can be of, and of those above them; not all need be there.

    A container sees its own group as the root of the tree, whatever name /proc/self/cgroup has for it.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = PurePosixPath(name.lstrip("/"))
        inside = () if ".." in group.parts else (group, *group.parents)
        for tree in (controllers, "cpu") if controllers else ("", "unified"):
            yield from (root / GROUPS / tree / one for one in inside or (PurePosixPath(),))


def _quota_of(folder: Path) -> float | None:
    """The quota of one group, in cores; None where it has none."""
    try:
        if (both := folder / "cpu.max").exists():
            quota, period = both.read_text(encoding="utf-8").split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8").strip() for name in ("quota", "period")
            )
        return int(quota) / int(period) if int(quota) > 0 else None  # version 1 writes -1 for none
    except (OSError, ValueError, ZeroDivisionError):  # no such group, or version 2's "max": none
        return None
