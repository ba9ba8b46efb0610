"""The WSGI entry point: `gunicorn -c python:relayer_web.gunicorn_conf relayer_web.wsgi:app`.

Imported in each worker process, after the fork.
"""

from __future__ import annotations

from relayer_web.app import create_app
from relayer_web.front_end import current_front_end

app = create_app(current_front_end())
