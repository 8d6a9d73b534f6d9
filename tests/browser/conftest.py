"""A real Chromium on the real application: pages, sockets and static files of one server."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import uvicorn
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

from ordercenter.console.step_up import TYPED_AT

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PHONE = (390, 844)
DESK = (1440, 900)
START_SECONDS = 20


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium for all of them; without one the tests are skipped, and say so."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail("REQUIRE_BROWSER is set and there is no Chromium")
        pytest.skip("no Chromium: apt-get install chromium fonts-noto-cjk")
    with sync_playwright() as playwright, pytest.MonkeyPatch.context() as patch:
        # Playwright keeps an event loop in this thread; the tests still ask the database.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        chromium = playwright.chromium.launch(
            executable_path=found,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--autoplay-policy=no-user-gesture-required",
            ],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def site(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The application as it runs in production, on the database of the test."""
    from ordercenter.asgi import application  # noqa: PLC0415 - settings must be in place

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(application, host="127.0.0.1", port=port, log_level="warning")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            pytest.fail("the web server did not start")
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(START_SECONDS)


@dataclass(frozen=True)
class Visitor:
    """A logged-in person's page, with whatever its scripts complained about."""

    page: Page
    site: str
    complaints: list[str]

    def open(self, path: str) -> None:
        self.page.goto(self.site + path)


@pytest.fixture
def visit(browser: Browser, site: str) -> Iterator[Callable[..., Visitor]]:
    """Open a page as this user at this size; script errors and alerts fail the test."""
    contexts = []
    visitors: list[Visitor] = []

    def as_user(user: User, size: tuple[int, int] = DESK) -> Visitor:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            locale="zh-CN",
            has_touch=size == PHONE,
            is_mobile=size == PHONE,
        )
        context.add_cookies(
            [{"name": settings.SESSION_COOKIE_NAME, "value": session_of(user), "url": site}]
        )
        page = context.new_page()
        complaints: list[str] = []

        def complain_of(dialog: Dialog) -> None:
            complaints.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", complain_of)
        contexts.append(context)
        visitors.append(Visitor(page, site, complaints))
        return visitors[-1]

    yield as_user
    for context in contexts:
        context.close()
    assert [complaint for visitor in visitors for complaint in visitor.complaints] == []


def session_of(user: User) -> str:
    """Log a user in without the form; the form has tests of its own."""
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store[TYPED_AT] = time.time()
    store.create()
    assert store.session_key
    return store.session_key
