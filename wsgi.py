"""The WSGI application, for any server of WSGI; ``ops.serve`` is ours."""

import os
import sys

from app.factory import create_app
from config import ConfigError, Settings

try:
    application = create_app(Settings.from_env(os.environ))
except ConfigError as error:
    sys.exit(f"Pengaturan belum benar / the settings are not right:\n{error}")
