"""Refusals: a code for machines, words for people.

Bugs are not wrapped; they crash and are seen.
"""

from http import HTTPStatus

from django.utils.translation import gettext_lazy as _


class OrderCenterError(Exception):
    """Something the center refuses to do, and why."""

    code = "refused"  # never changes
    message = _("操作无法完成")  # may change
    http_status = HTTPStatus.CONFLICT

    def __init__(self, **facts: object) -> None:
        super().__init__(self.code, facts)
        self.facts = facts

    def __str__(self) -> str:
        return str(self.message) % self.facts


class NotAllowed(OrderCenterError):
    code = "not_allowed"
    message = _("您没有权限执行此操作：%(what)s")
    http_status = HTTPStatus.FORBIDDEN


class NotFound(OrderCenterError):
    code = "not_found"
    message = _("找不到 %(what)s")
    http_status = HTTPStatus.NOT_FOUND


class InvalidInput(OrderCenterError):
    code = "invalid_input"
    message = _("%(what)s")
    http_status = HTTPStatus.UNPROCESSABLE_ENTITY
