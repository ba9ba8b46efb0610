"""How the relayer's front ends are started: gunicorn, with the worker and the settings of `relayer_web`."""

from __future__ import annotations

import sys

GUNICORN = (
    *(sys.executable, "-m", "gunicorn"),
    *("-c", "python:relayer_web.gunicorn_conf", "relayer_web.wsgi:app"),
)
