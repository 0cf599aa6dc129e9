from __future__ import annotations

import os
from pathlib import Path

from halftime.data.limits import cores, memory, private, shared_memory


def written(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_version_2_quota_and_limit_of_the_nearest_group_that_has_them(tmp_path):
    written(tmp_path, {
        "proc/self/cgroup": "0::/job/inner\n",
        "proc/meminfo": "MemTotal: 900 kB\nMemAvailable: 800 kB\n",
        "sys/fs/cgroup/job/cpu.max": "50000 100000",
        "sys/fs/cgroup/job/inner/cpu.max": "max 100000",
        "sys/fs/cgroup/job/memory.max": "500000",
        "sys/fs/cgroup/job/memory.current": "300000",
        "sys/fs/cgroup/job/memory.stat": "anon 1\ninactive_file 100000\n",
        "sys/fs/cgroup/job/inner/memory.max": "max",
    })  # fmt: skip
    assert cores(tmp_path) == 0.5
    assert memory(tmp_path) == 300000


def test_version_1_quota_and_limit(tmp_path):
    written(tmp_path, {
        "proc/self/cgroup": "4:cpu,cpuacct:/job\n7:memory:/job\n",
        "proc/meminfo": "MemAvailable: 800 kB\n",
        "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "25000\n",
        "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "500000\n",
        "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "450000\n",
        "sys/fs/cgroup/memory/job/memory.stat": "total_inactive_file 50000\n",
    })  # fmt: skip
    assert cores(tmp_path) == 0.25
    assert memory(tmp_path) == 100000


def test_without_a_quota_the_affinity_counts_and_nobody_guesses_memory(tmp_path):
    assert cores(tmp_path) == len(os.sched_getaffinity(0))
    assert memory(tmp_path) is None
    assert shared_memory(tmp_path) is None
    written(tmp_path, {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"})
    assert cores(tmp_path) == len(os.sched_getaffinity(0))


def test_what_a_process_holds_for_itself(tmp_path):
    written(
        tmp_path, {"proc/7/smaps_rollup": "Rss: 900 kB\nPrivate_Clean: 3 kB\nPrivate_Dirty: 4 kB\nShared_Dirty: 9 kB\n"}
    )
    assert private([7, 8], tmp_path) == [7 * 1024, 0]
    assert private([os.getpid()])[0] > 1e6
