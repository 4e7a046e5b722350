"""The token of the gateways: made once, for its owner's eyes only."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from web.http.token import rotate, token


def test_it_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "data" / "gateway-token"
    made = token(path)
    assert len(made) > 40
    assert token(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_new_one_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    before = token(path)
    after = rotate(path)
    assert after != before
    assert token(path) == after
    assert path.stat().st_mode & 0o777 == 0o600


def test_gateways_that_start_together_make_the_same_one(tmp_path: Path) -> None:
    script = (
        f"from pathlib import Path; from web.http.token import token; print(token(Path({str(tmp_path / 'token')!r})))"
    )

    def made(_: int) -> str:
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return ran.stdout

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(made, range(6)))) == 1


def test_an_empty_file_is_no_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch()
    assert token(path) == token(path) != ""
