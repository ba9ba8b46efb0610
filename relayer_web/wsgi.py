"""The WSGI entry point: `gunicorn -c python:relayer_web.gunicorn_conf relayer_web.wsgi:app`.

Its modules are loaded in the master; the front end is built in each worker process, after the fork.
"""

from __future__ import annotations

from relayer_web.app import create_app
from relayer_web.front_end import current_front_end

app = create_app(current_front_end())
