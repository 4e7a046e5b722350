"""Builds the Faust app of a role out of the settings. Each role is one module here."""

from __future__ import annotations

from agents.process_guard import REFUSED, end_process
from topology.assembly import archive, feed, gateway, mirror, pipeline
from topology.assembly.base import Role, RoleApp, new_app
from topology.settings import Settings, SettingsError, load

ROLES: dict[str, type[Role]] = {
    "pipeline": pipeline.PipelineRole,
    "feed": feed.FeedRole,
    "mirror": mirror.MirrorRole,
    "archive": archive.ArchiveRole,
    "gateway": gateway.GatewayRole,
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
