"""Methods of the chain's queries that several tests answer."""

from __future__ import annotations

CUPR_AT = "/pocket.service.Query/ComputeUnitsPerRelayAtHeight"
SERVICE = "/pocket.service.Query/Service"
APPLICATION = "/pocket.application.Query/Application"
