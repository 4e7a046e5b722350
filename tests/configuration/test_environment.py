"""What the environment and the instrument master ask of a log."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.support.masters import LISTED, keep
from topology.angel.master.listings import FILE_NAME
from topology.configuration.difference import differences
from topology.configuration.environment import from_settings
from topology.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    env = {"DATA_DIR": str(tmp_path), "SUBSCRIBE_TOKENS": "1:99926000,NSE:2885,NSE:15259,NFO:50001"}
    return Settings.from_env(env)


def test_stocks_with_derivatives_get_the_sessions_of_their_class_from_the_master(settings: Settings) -> None:
    without = from_settings(settings)
    assert without.classes == {}
    keep(settings.namespace_dir / FILE_NAME, LISTED)
    found = from_settings(settings)
    assert found.classes == {"NSE:2885": "equity_cas"}
    assert differences(without, found) == ["NSE:2885: class equity -> equity_cas"]
    assert differences(found, msgspec.structs.replace(without, classes=found.classes)) == []
