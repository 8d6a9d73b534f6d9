"""Settings from typed environment variables; nonsense fails loudly at start.

The README lists every variable.
"""

import os
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlparse

import django_stubs_ext
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from ordercenter.core.embedded import APP_ROLE, ROLE, connection_settings
from ordercenter.core.secrets_file import load_or_create

django_stubs_ext.monkeypatch()

BASE_DIR: Final = Path(__file__).resolve().parent.parent.parent
DATA_DIR: Final = Path(os.environ.get("ORDERCENTER_DATA", BASE_DIR / "var")).resolve()

_secrets = load_or_create(DATA_DIR / "secrets.env")


def env(name: str, default: str = "") -> str:
    return os.environ.get(name) or _secrets.get(name, default)


def env_bool(name: str, *, default: bool) -> bool:
    text = env(name, str(default)).lower()
    if text not in {"1", "0", "true", "false", "yes", "no"}:
        message = f"{name} must be true or false, not {text!r}"
        raise ImproperlyConfigured(message)
    return text in {"1", "true", "yes"}


def env_int(name: str, default: int, *, low: int = 0, high: int = 10**9) -> int:
    text = env(name, str(default))
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        message = f"{name} must be a whole number from {low} to {high}, not {text!r}"
        raise ImproperlyConfigured(message)
    return int(text)


def env_float(name: str, default: float, *, low: float, high: float) -> float:
    text = env(name, str(default))
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        message = f"{name} must be a number from {low} to {high}, not {text!r}"
        raise ImproperlyConfigured(message)
    return number


def env_list(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in env(name, default).split(",") if part.strip()]


def database_from_url(url: str) -> dict[str, Any]:
    """Read ``postgres://user:password@host:port/name?option=value``."""
    parts = urlparse(url)
    if parts.scheme not in {"postgres", "postgresql"} or not parts.path.strip("/"):
        message = "DATABASE_URL must look like postgres://user:password@host:5432/name"
        raise ImproperlyConfigured(message)
    options = dict(parse_qsl(parts.query))
    return {
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", None) or unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": options,
    }


WEB_SERVERS: Final = frozenset({"uvicorn", "gunicorn", "daphne", "hypercorn"})


def _process_name() -> str:
    name = Path(sys.argv[0]).name
    if name == "__main__.py":
        return Path(sys.argv[0]).parent.name
    return sys.argv[1] if name == "manage.py" and len(sys.argv) > 1 else name


def database(url: str, *, role: str) -> dict[str, Any]:
    """The database of ``url``; without one the embedded server, reached as ``role``."""
    embedded = {**connection_settings(DATA_DIR), "USER": role}
    found = database_from_url(url) if url else embedded
    # A web process answers many requests at once; each would keep a connection of its own.
    pooled = _process_name() in WEB_SERVERS
    pool = {"pool": {"min_size": 1, "max_size": env_int("DB_POOL", 20, low=2), "timeout": 5}}
    options = {
        **(pool if pooled else {}),
        # "ordercenter work", "ordercenter qcluster", "ordercenter uvicorn": who is connected
        # shows in pg_stat_activity, and `manage.py status` counts them.
        "application_name": f"ordercenter {_process_name()}"[:60],
        "options": "-c lock_timeout=3000 -c idle_in_transaction_session_timeout=30000",
        # For statements that ask for it (core.bulk.prepared_cursor).
        "prepare_threshold": 5 if env_bool("DB_PREPARE", default=True) else None,
        **found.pop("OPTIONS", {}),
    }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": 0 if pooled else 600,
        "CONN_HEALTH_CHECKS": True,
        **found,
        "OPTIONS": options,
    }


DEBUG = False
SECRET_KEY = env("SECRET_KEY")
ORDERCENTER_DATA_KEYS = {1: env("ORDERCENTER_DATA_KEY")}
ORDERCENTER_INDEX_KEY = env("ORDERCENTER_INDEX_KEY")
if not (SECRET_KEY and ORDERCENTER_DATA_KEYS[1] and ORDERCENTER_INDEX_KEY):
    _message = "SECRET_KEY, ORDERCENTER_DATA_KEY and ORDERCENTER_INDEX_KEY must be set"
    raise ImproperlyConfigured(_message)

ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "channels",
    "django_q",
    "axes",
    "ordercenter.core",
    "ordercenter.audit",
    "ordercenter.catalog",
    "ordercenter.orders",
    "ordercenter.notices",
    "inventory",
    "risk",
    "channels_sync",
    "fulfillment",
    "ordercenter.pipeline",
    "ordercenter.console",
    "ordercenter.api",
    "ordercenter.warroom",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "ordercenter.core.middleware.RequestMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "ordercenter.console.idle.IdleMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "ordercenter.urls"
ASGI_APPLICATION = "ordercenter.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

OWNERS: Final = frozenset({"migrate", "flush", "bench"})
"""Commands that make or empty tables; everything else logs in as the application (ADR 0032)."""
APP_DATABASE = database(env("DATABASE_URL"), role=APP_ROLE)
OWNER_DATABASE = database(env("DATABASE_OWNER_URL") or env("DATABASE_URL"), role=ROLE)
APP_DATABASE_ROLE: str = APP_DATABASE["USER"]
DATABASES = {"default": OWNER_DATABASE if _process_name() in OWNERS else APP_DATABASE}
if env("REPLICA_URL"):
    DATABASES["replica"] = database(env("REPLICA_URL"), role=APP_ROLE)
DATABASE_ROUTERS = ["ordercenter.core.replica.ReplicaRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "admin:login"
# Locked by user and address together, and by itself again after a while: three wrong guesses
# from one proxy must not shut the supervisor out on promotion night.
AXES_FAILURE_LIMIT = env_int("LOGIN_FAILURE_LIMIT", 5, low=3, high=100)
AXES_COOLOFF_TIME = 0.25
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_IPWARE_PROXY_COUNT = env_int("PROXY_COUNT", 0, high=10) or None
AXES_IPWARE_META_PRECEDENCE_ORDER = (
    ["HTTP_X_FORWARDED_FOR", "REMOTE_ADDR"] if AXES_IPWARE_PROXY_COUNT else ["REMOTE_ADDR"]
)
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
SESSION_COOKIE_AGE = env_int("SESSION_HOURS", 8, low=1, high=24) * 3600
IDLE_MINUTES = env_int("IDLE_MINUTES", 20, low=0, high=480)
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"

HTTPS_ONLY = env_bool("HTTPS_ONLY", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS_ONLY
# A redirect drops the body of a push: the doors refuse plain HTTP themselves.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^hooks/"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS_ONLY
if env_int("PROXY_COUNT", 0, high=10):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 6000
INTAKE_LAG_WARN_SECONDS = env_int("INTAKE_LAG_WARN_SECONDS", 60, low=1)
INTAKE_LAG_ALARM_SECONDS = env_int("INTAKE_LAG_ALARM_SECONDS", 300, low=1)
SHIP_WITHIN_HOURS = env_int("SHIP_WITHIN_HOURS", 48, low=1, high=720)
STOCK_WINDOW_SECONDS = env_float("STOCK_WINDOW_SECONDS", 0.4, low=0.0, high=3600)
STOCK_REFUSED_MINUTES = env_int("STOCK_REFUSED_MINUTES", 10, low=1, high=1440)
REVIEWERS = env_int("REVIEWERS", 2, low=1, high=1000)
CARDS_AN_HOUR = env_int("CARDS_AN_HOUR", 30, low=1, high=1000)
# What a rule mined from decisions has to show on later decisions to be proposed: orders it
# covers, per cent of them rightly (to stop; to let pass), and per cent of the base rate.
LEARN_SUPPORT = env_int("LEARN_SUPPORT", 20, low=5, high=10_000)
LEARN_PRECISION = env_int("LEARN_PRECISION", 80, low=50, high=100)
LEARN_PASS_PRECISION = env_int("LEARN_PASS_PRECISION", 95, low=50, high=100)
LEARN_LIFT = env_int("LEARN_LIFT", 125, low=100, high=1000)
REVEALS_A_DAY = env_int("REVEALS_A_DAY", 200, low=1, high=100_000)
PHONE_SEARCHES_A_DAY = env_int("PHONE_SEARCHES_A_DAY", 100, low=1, high=100_000)
IMPORT_MAX_UNPACKED_BYTES = env_int("IMPORT_MAX_UNPACKED_MIB", 2048, low=1, high=10**6) * 1024**2

LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", _("简体中文")), ("en", "English")]
LOCALE_PATHS = [BASE_DIR / "ordercenter" / "locale"]
TIME_ZONE = "Asia/Shanghai"
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
WHITENOISE_USE_FINDERS = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

REDIS_URL = env("REDIS_URL")
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL]},
    }
    if REDIS_URL
    else {"BACKEND": "ordercenter.core.live.PostgresChannelLayer"}
}

Q_CLUSTER = {
    "name": "ordercenter",
    "orm": "default",  # a task queued in a transaction commits or vanishes with it
    "workers": env_int("Q_WORKERS", 2, low=1, high=64),
    "timeout": 120,
    "retry": 180,
    "max_attempts": 3,
    "queue_limit": 20,
    "bulk": 5,
    "catch_up": False,
    "ack_failures": True,
    "poll": 1,
    "save_limit": 200,
    "label": _("定时任务"),
    "error_reporter": {},
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
        "ordercenter.api.tokens.ScopedTokens",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["ordercenter.api.permissions.DenyAll"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["ordercenter.api.parsers.StrictJSONParser"],
    "EXCEPTION_HANDLER": "ordercenter.api.errors.handle",
    "DEFAULT_PAGINATION_CLASS": "ordercenter.api.pagination.Pages",
    "PAGE_SIZE": 50,
    "NUM_PROXIES": env_int("PROXY_COUNT", 0, high=10),
    "COERCE_DECIMAL_TO_STRING": True,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "ordercenter.core.logs.PlainFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
        },
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env("LOG_LEVEL", "INFO")},
    # httpx writes whole addresses at INFO, and with some platforms the token is in them.
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "axes": {"level": "ERROR"},
        # What escapes a socket is written by uvicorn itself; it must not quote anybody either.
        "uvicorn": {"handlers": ["console"], "propagate": False},
    },
}

UNFOLD = {
    "SITE_TITLE": _("订单中枢"),
    "SITE_HEADER": _("订单中枢"),
    "SITE_SYMBOL": "hub",
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        }
    },
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": "ordercenter.console.navigation.sidebar",
    },
}
SILENCED_SYSTEM_CHECKS: list[str] = []
