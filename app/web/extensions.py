"""Flask extensions as objects of their own, so that nobody needs the factory for them."""

from flask_babel import Babel
from flask_bootstrap import Bootstrap5
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect

from app.core.db import Base

# Serves Flask-Admin and Flask-Security; services get a plain session (core.db).
db = SQLAlchemy(metadata=Base.metadata)
babel = Babel()
bootstrap = Bootstrap5()
csrf = CSRFProtect()
# Counted in the web process: a request never needs Redis (design D2).
limiter = Limiter(get_remote_address, storage_uri="memory://", headers_enabled=True)
