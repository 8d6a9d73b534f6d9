"""The socket between real processes: who may have one, what it says, when it ends."""

import base64
import contextlib
import json
import socket as sockets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from ordercenter.core.live import LISTENER_NAME, announce
from ordercenter.core.policy import Role
from tests.factories import user_with
from tests.warroom.conftest import ROOT, Center, environment, session_cookie

ANNOUNCE = """
import django; django.setup()
from django.db import transaction
from ordercenter.core.live import LISTENER_NAME, announce
with transaction.atomic():
    announce("orders", order_id=7)
"""
pytestmark = pytest.mark.django_db(transaction=True)
ROLES_OF_THE_BOARD = [role for role in Role if role not in {Role.IT, Role.PARTNER}]


@contextlib.contextmanager
def open_socket(center: Center, user: User | None) -> Iterator[ClientConnection]:
    """Connect as the browser of ``user`` would."""
    with connect(
        center.socket_url,
        additional_headers={"Cookie": session_cookie(user)} if user else {},
        origin=Origin(center.url),
        proxy=None,
        close_timeout=1,
    ) as socket:
        yield socket


@contextlib.contextmanager
def listening_socket(center: Center, *roles: Role) -> Iterator[ClientConnection]:
    """Connect as somebody with ``roles``; nudges come through from here on."""
    with open_socket(center, user_with(*roles)) as socket:
        yield settled(socket)


def hears(socket: ClientConnection, seconds: float) -> bool:
    try:
        socket.recv(seconds)
    except TimeoutError:
        return False
    return True


def settled(socket: ClientConnection) -> ClientConnection:
    """Wait until nudges come through, and read off what has come so far."""
    deadline = time.monotonic() + 10
    while not hears(socket, 0.2):
        assert time.monotonic() < deadline, "the socket hears nothing"
        announce("orders", order_id=0)
    while hears(socket, 0.4):
        pass
    return socket


def close_code(socket: ClientConnection, seconds: float = 5) -> int:
    """Return the code the server closes with; what it says before is read off."""
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            socket.recv(max(0.01, deadline - time.monotonic()))
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 1006
    except TimeoutError:
        pass
    return pytest.fail(f"the socket was still open after {seconds} s")


def test_what_one_process_commits_reaches_the_sockets_of_another(center: Center) -> None:
    with listening_socket(center, Role.SCREEN) as socket:
        subprocess.run(
            [sys.executable, "-c", ANNOUNCE], env=environment(), cwd=ROOT, check=True, timeout=30
        )
        told = json.loads(socket.recv(2))
    assert told["topic"] == "orders"
    assert set(told) == {"seq", "topic"}


def test_a_nudge_waits_for_the_commit_and_is_lost_with_a_rollback(center: Center) -> None:
    with listening_socket(center, Role.SCREEN) as socket:
        with transaction.atomic():
            announce("orders", order_id=1)
            with pytest.raises(TimeoutError):
                socket.recv(0.5)
            transaction.set_rollback(True)
        with pytest.raises(TimeoutError):
            socket.recv(0.5)
        with transaction.atomic():
            announce("orders", order_id=1)
        began = time.monotonic()
        socket.recv(2)
    assert time.monotonic() - began < 1


def test_a_burst_of_nudges_becomes_a_few_frames_without_a_gap(center: Center) -> None:
    with listening_socket(center, Role.CEO) as socket:
        began = time.monotonic()
        for order_id in range(200):
            announce("orders", order_id=order_id)
            announce("shops", shop_id=order_id)
        frames = []
        with contextlib.suppress(TimeoutError):
            while True:
                frames.append(json.loads(socket.recv(1)))
        took = time.monotonic() - began
    assert len(frames) <= 2 * (took / 0.25 + 1)
    assert {frame["topic"] for frame in frames} == {"orders", "shops"}
    numbers = [frame["seq"] for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_socket_without_a_session_is_closed_before_any_data(center: Center) -> None:
    with open_socket(center, None) as socket:
        assert close_code(socket) == 4401


def test_a_user_who_may_not_see_the_board_is_closed_before_any_data(center: Center) -> None:
    with open_socket(center, user_with(Role.IT)) as socket:
        assert close_code(socket) == 4403
    nobody = user_with(username="root", is_superuser=True)
    with open_socket(center, nobody) as socket:
        assert close_code(socket) == 4403


def test_every_role_of_the_board_gets_nudges(center: Center) -> None:
    with contextlib.ExitStack() as stack:
        opened = [
            stack.enter_context(open_socket(center, user_with(role))) for role in ROLES_OF_THE_BOARD
        ]
        for socket in opened:
            settled(socket)
        for socket in opened:
            while hears(socket, 0.3):
                pass
        announce("shops", shop_id=1)
        for socket in opened:
            assert json.loads(socket.recv(2))["topic"] == "shops"


def test_a_page_of_another_site_gets_no_socket(center: Center) -> None:
    cookie = session_cookie(user_with(Role.CEO))
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(
            center.socket_url,
            additional_headers={"Cookie": cookie},
            origin=Origin("http://evil.example"),
            proxy=None,
        ),
    ):
        pass
    assert refused.value.response.status_code == 403


def disable(user: User) -> None:
    user.is_active = False
    user.save(update_fields=["is_active"])


def log_out(user: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_session")


def change_password(user: User) -> None:
    user.set_password("another-password")
    user.save(update_fields=["password"])


def take_role(user: User) -> None:
    user.groups.clear()


@pytest.mark.parametrize(
    ("change", "code"),
    [(disable, 4401), (log_out, 4401), (change_password, 4401), (take_role, 4403)],
    ids=["disabled", "logged out", "new password", "role taken"],
)
def test_a_socket_ends_within_five_seconds_of_its_users_right(
    center: Center, change: Callable[[User], None], code: int
) -> None:
    user = user_with(Role.PACKER)
    other = user_with(Role.SCREEN)
    with open_socket(center, user) as socket, open_socket(center, other) as bystander:
        settled(socket)
        change(user)
        assert close_code(socket, 5.5) == code
        if change is not log_out:  # which ends everybody's session
            settled(bystander)
            announce("orders", order_id=1)
            assert bystander.recv(2)


def test_what_a_page_says_is_ignored(center: Center) -> None:
    with listening_socket(center, Role.SCREEN) as socket:
        socket.send('{"command": "release", "order_id": 1}')
        socket.send("not even JSON")
        announce("orders", order_id=1)
        assert json.loads(socket.recv(2))["topic"] == "orders"


def test_a_page_that_will_not_stop_talking_is_hung_up_on(center: Center) -> None:
    with (
        listening_socket(center, Role.CEO) as quiet,
        open_socket(center, user_with(Role.SCREEN)) as socket,
    ):
        with contextlib.suppress(ConnectionClosed):  # by then it has been hung up on
            for _ in range(10_000):
                socket.send("again")
        assert close_code(socket) == 1008
        announce("orders", order_id=1)
        assert quiet.recv(2)


def test_a_huge_frame_is_refused_and_other_sockets_live_on(center: Center) -> None:
    with (
        listening_socket(center, Role.CEO) as quiet,
        open_socket(center, user_with(Role.SCREEN)) as socket,
    ):
        with contextlib.suppress(ConnectionClosed):  # cut off while it was still talking
            socket.send("x" * 10_000_000)
        assert close_code(socket) == 1009
        announce("orders", order_id=1)
        assert quiet.recv(2)


def test_a_binary_frame_is_refused(center: Center) -> None:
    with open_socket(center, user_with(Role.SCREEN)) as socket:
        socket.send(b"\x00\x01")
        assert close_code(socket) == 1003


def test_a_client_that_never_reads_is_dropped(start_center: Callable[..., Center]) -> None:
    center = start_center("--ws-ping-interval", "0.5", "--ws-ping-timeout", "0.5")
    request = (
        "GET /ws/live/ HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n"
        f"Origin: {center.url}\r\nCookie: {session_cookie(user_with(Role.SCREEN))}\r\n\r\n"
    )
    with sockets.create_connection(("127.0.0.1", center.port), timeout=5) as line:
        line.sendall(request.encode())
        assert line.recv(12) == b"HTTP/1.1 101"
        time.sleep(2.5)
        while line.recv(65_536):  # what came before the end; an open line would time out
            pass


def test_after_the_listening_connection_was_cut_every_page_is_told_to_look(
    center: Center,
) -> None:
    with listening_socket(center, Role.SCREEN) as socket:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = %s",
                [LISTENER_NAME],
            )
            (cut,) = cursor.fetchone()
        assert cut >= 1
        topics = {json.loads(socket.recv(5))["topic"] for _ in range(2)}
        assert topics == {"orders", "shops"}
        announce("orders", order_id=1)
        assert json.loads(socket.recv(2))["topic"] == "orders"


def test_nonsense_over_notify_does_not_end_the_listening(center: Center) -> None:
    with listening_socket(center, Role.SCREEN) as socket:
        with connection.cursor() as cursor:
            for text in ("", "null", "[1]", '{"group": 5, "message": {}}', '{"group": "orders"}'):
                cursor.execute("SELECT pg_notify('ordercenter_live', %s)", [text])
        announce("orders", order_id=1)
        assert json.loads(socket.recv(2))["topic"] == "orders"
