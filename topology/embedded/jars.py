"""The broker's jar files: fetched from their Maven coordinates by jgo, checked, and kept in the user's cache.

``jars.json`` is the lock: every coordinate that the broker needs, with the SHA-256 of its jar. ``deploy/lock`` remakes
it with `lock`.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

from topology.embedded.child import EmbeddedError, Progress

BROKER = "org.apache.kafka:kafka_2.13:4.4.0"
PROGRESS_EVERY = 15  # files
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5"
"""Carries the broker's messages to its log. Kafka leaves the choice open, and has all that this one needs."""


def jars(progress: Progress, cache: Path | None = None) -> list[Path]:
    """Give the jar files of the broker, fetching those that ``cache`` (``~/.cache/topology/jars``) lacks.

    A file is checked when it is fetched; only a checked one gets its name. Raises `EmbeddedError`.
    """
    pins: dict[str, str] = json.loads(files("topology.embedded").joinpath("jars.json").read_text())
    folder = cache or Path.home() / ".cache/topology/jars"
    paths = {coordinate: folder / "{1}-{2}.jar".format(*coordinate.split(":")) for coordinate in pins}
    missing = [coordinate for coordinate, path in paths.items() if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch, ThreadPoolExecutor(4) as pool:
            fetched = pool.map(_Fetch(Path(scratch)), missing)
            for done, (coordinate, path) in enumerate(zip(missing, fetched, strict=True), 1):
                _check(path, coordinate, pin=pins[coordinate])
                os.replace(path, paths[coordinate])
                if done % PROGRESS_EVERY == 0 or done == len(missing):
                    progress(f"fetching the broker, the first time only: {done} of {len(missing)} files")
    except OSError as error:
        raise EmbeddedError(f"the broker's files can't be kept in {folder}: {error}") from error
    return list(paths.values())


def lock() -> dict[str, str]:
    """Resolve `BROKER` with all it needs anew, and `LOGGING`: coordinates and the SHA-256 of each jar."""
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(4) as pool:
        maven = _maven(Path(scratch))
        direct, indirect = maven.resolver.resolve([maven.create_dependency(BROKER)])
        needed = [*direct, *(dependency for dependency in indirect if dependency.scope in ("compile", "runtime"))]
        coordinates = sorted([LOGGING, *(f"{one.groupId}:{one.artifactId}:{one.version}" for one in needed)])
        fetched = list(pool.map(_Fetch(Path(scratch)), coordinates))
        return {name: _sha256(path) for name, path in zip(coordinates, fetched, strict=True)}


class _Fetch:
    """Fetches the jar of a coordinate into a folder."""

    def __init__(self, folder: Path) -> None:
        self._maven = _maven(folder)

    def __call__(self, coordinate: str) -> Path:
        group, artifact, version = coordinate.split(":")
        try:
            path: Path = self._maven.project(group, artifact).at_version(version).artifact().resolve()
        except (OSError, RuntimeError) as error:
            why = f"{type(error).__name__}; check the network, then try again"
            raise EmbeddedError(f"{coordinate} can't be fetched: {why}") from error
        return path


def _maven(folder: Path) -> Any:
    from jgo.maven import MavenContext  # noqa: PLC0415 - a sixth of a worker's start, and needed once on a machine

    return MavenContext(repo_cache=folder)


def _check(path: Path, coordinate: str, *, pin: str) -> None:
    if (found := _sha256(path)) != pin:
        raise EmbeddedError(f"{coordinate} is not the file that was pinned (sha256 {found}): it has been left out")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
