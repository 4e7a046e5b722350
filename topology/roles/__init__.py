"""Builds the Faust app of a role out of the settings. Each role is one module here; those of the sinks share one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from agents.process_guard import REFUSED, end_process
from topology.roles.base import Role, RoleApp, new_app
from topology.roles.feed.role import FeedRole
from topology.roles.gateway.role import GatewayRole
from topology.roles.pipeline import PipelineRole
from topology.roles.sink import SinkRole
from topology.settings import Settings, SettingsError, load
from topology.sinks.registry import SINKS

ROLES: Mapping[str, Callable[[RoleApp, Settings], Role]] = {
    "pipeline": PipelineRole,
    "feed": FeedRole,
    **{sink.name: partial(SinkRole, sink=sink) for sink in SINKS},
    "gateway": GatewayRole,
}


def app_of_role() -> RoleApp:
    """Return the app of the role that the environment names. A wrong setting ends the process with one line."""
    try:
        settings = load()
    except SettingsError as error:
        end_process(str(error), code=REFUSED)
    return build(settings)


def build(settings: Settings) -> RoleApp:
    """Build the app of a role."""
    app = new_app(settings)
    app.role = ROLES[settings.role](app, settings)
    return app
