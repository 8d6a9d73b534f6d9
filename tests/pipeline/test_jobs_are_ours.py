"""Jobs are named by our own paths and carry ids only (traps 4 to 6, BR13, X58)."""

import ast
import importlib
from pathlib import Path

import pytest
from django.core import signing
from django.test import override_settings
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task

from ordercenter.pipeline.schedules import JOBS, sync_schedules
from tests.factories import SyncCursorFactory

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).parents[2]
OURS = "ordercenter.pipeline."


def test_no_schedule_names_a_function_that_is_not_ours() -> None:
    SyncCursorFactory.create()
    sync_schedules()
    rows = list(Schedule.objects.all())
    assert len(rows) > len(JOBS)
    for row in rows:
        assert row.func.startswith(OURS)
        module, _dot, name = row.func.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))
        assert all(isinstance(arg, int) for arg in ast.literal_eval(row.args or "()"))


def test_nothing_in_the_house_queues_a_function_by_a_name_from_outside() -> None:
    """Whoever queues does it with a literal path of ours."""
    found = 0
    for path in [*ROOT.glob("ordercenter/**/*.py"), *ROOT.glob("channels_sync/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("async_task"):
                first = node.args[0]
                found += 1
                assert isinstance(first, ast.Constant), path
                assert str(first.value).startswith(OURS), path
    assert found >= 2


def test_after_the_key_was_changed_the_schedules_go_on() -> None:
    """Trap 6: what waits in the queue under the old key is lost, and nothing with it is.

    The schedules are rows without a signature; the truth is in inbox and outbox.
    """
    SyncCursorFactory.create()
    sync_schedules()
    async_task("ordercenter.pipeline.tasks.escalate")
    before = list(Schedule.objects.order_by("name").values_list("name", "func", "args"))
    with override_settings(SECRET_KEY="another-key-of-fifty-characters-and-more-1234567890"):
        (waiting,) = OrmQ.objects.all()
        with pytest.raises(signing.BadSignature):
            signing.loads(waiting.payload)
        OrmQ.objects.all().delete()
        sync_schedules()
    assert list(Schedule.objects.order_by("name").values_list("name", "func", "args")) == before
