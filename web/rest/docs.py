"""The OpenAPI document."""

from __future__ import annotations

from typing import Any

from web.gateway import Gateway
from web.http.endpoint import Endpoint, get
from web.http.openapi import document


def docs(endpoints: tuple[Endpoint, ...]) -> Endpoint:
    """Return the endpoint that describes these and itself."""

    @get("/api/docs")
    async def described(_: Gateway) -> dict[str, Any]:
        """Return this document."""
        return page

    page = document([*endpoints, described])
    return described
