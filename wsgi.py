"""The application: whole for any server of WSGI, and as ``ops.serve`` serves it, by ASGI."""

import os
import sys

from app.core.asgi import Asgi
from app.factory import create_app
from app.web.gateways import Front
from config import ConfigError, Settings

try:
    application = create_app(Settings.from_env(os.environ))
except ConfigError as error:
    sys.exit(f"Pengaturan belum benar / the settings are not right:\n{error}")


def front(threads: int) -> Asgi:
    """Return the ASGI application, with so many threads for the pages."""
    gateway = application.extensions["simpul_gateway"]
    return Front(gateway.door, gateway.pages, threads)
