from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"topology", "agents", "tables", "web"}
DOCUMENTS = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"}
LAYOUT = ROOMS | DOCUMENTS | {"pyproject.toml", "deploy", "tests"}


def test_the_top_level_is_the_one_that_the_design_names() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {Path(name).parts[0] for name in listed.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} - {"LICENSE"} == LAYOUT


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_no_other_distribution_brings_a_package_of_the_same_name(room: str) -> None:
    assert set(packages_distributions().get(room, [])) <= {"topology"}
    code = f"import {room}; print({room}.__file__)"
    where = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True)
    assert Path(where.stdout.strip()).is_relative_to(ROOT / room)


@pytest.mark.parametrize("room", ["topology", "topology.market", "topology.indicators", "topology.log"])
def test_the_pure_core_is_imported_without_faust(room: str) -> None:
    code = f"import json, sys, {room}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = set(json.loads(done.stdout))
    assert room in modules
    assert not modules & {"faust", "mode", "aiokafka", "redis", "aiohttp"}
