"""The state machine of the stock: model, driver, blows and planted bugs."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.machine", f"{__name__}.center")
