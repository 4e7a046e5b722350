"""The scripts are what their comments say of types (JSDoc), and linted: by Deno, which has the TypeScript compiler."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

DENO = Path(sysconfig.get_path("scripts"), "deno")
CONFIGURATION = Path(__file__).with_name("deno.json")
SCRIPTS = Path(__file__).parents[3] / "web" / "static" / "js"


@pytest.mark.parametrize("command", [["check", "--no-remote", "--no-lock"], ["lint"]], ids=["types", "lint"])
def test_deno_has_nothing_to_say(command: list[str], tmp_path: Path) -> None:
    scripts = sorted(map(str, SCRIPTS.glob("*.js")))
    ours = {"DENO_DIR": str(tmp_path), "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [DENO, *command, "--config", CONFIGURATION, *scripts],
        env=os.environ | ours,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
