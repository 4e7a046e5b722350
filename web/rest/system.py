"""How this machine and this gateway are."""

from __future__ import annotations

import os
import resource
import time

import msgspec

from web.gateway import Gateway
from web.http.endpoint import get

_STARTED_S = time.monotonic()


class SystemMetrics(msgspec.Struct):
    """Load of the machine, memory of machine and gateway in MB, and how long it has been up."""

    cpu_load_1: float
    cpu_load_5: float
    cpu_load_15: float
    cpu_cores: int
    mem_used_mb: float
    mem_total_mb: float
    mem_percent: float
    process_mb: float
    process_cpu_s: float
    uptime_sec: int
    ts: int


@get("/api/metrics")
async def metrics(gateway: Gateway) -> SystemMetrics:
    """Return how this machine and this gateway are; ``ts`` is in milliseconds."""
    return measured(gateway.now_ms())


def measured(now_ms: int) -> SystemMetrics:
    """Measure."""
    total_mb, free_mb = _memory_mb()
    used = resource.getrusage(resource.RUSAGE_SELF)
    load_1, load_5, load_15 = (round(load, 2) for load in os.getloadavg())
    return SystemMetrics(
        cpu_load_1=load_1,
        cpu_load_5=load_5,
        cpu_load_15=load_15,
        cpu_cores=os.cpu_count() or 1,
        mem_used_mb=round(total_mb - free_mb, 1),
        mem_total_mb=round(total_mb, 1),
        mem_percent=round(100 * (total_mb - free_mb) / total_mb, 1) if total_mb else 0.0,
        process_mb=round(used.ru_maxrss / 1024, 1),
        process_cpu_s=round(used.ru_utime + used.ru_stime, 2),
        uptime_sec=int(time.monotonic() - _STARTED_S),
        ts=now_ms,
    )


def _memory_mb() -> tuple[float, float]:
    """Return the machine's memory and what is available of it; zeros where the system doesn't tell."""
    page = os.sysconf("SC_PAGE_SIZE") / 2**20
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return tuple(int(lines[name].split()[0]) / 1024 for name in ("MemTotal", "MemAvailable"))  # type: ignore[return-value] # two
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * page, 0.0
