"""For platforms of tests: figures go one by one, as to a platform that takes no several."""

from collections.abc import Sequence
from typing import Any

from channels_sync.contracts import StockAnswer, StockCall, StockFigure


class OneByOne:
    """What a connector says of several figures, over its ``publish_stock``."""

    publish_stock: Any

    def stock_calls(self, figures: Sequence[StockFigure]) -> list[StockCall]:
        return [StockCall("stock", (figure,)) for figure in figures]

    def stock_turns(self, calls: Sequence[StockCall]) -> int:
        return len(calls)

    def publish_figures(self, figures: Sequence[StockFigure]) -> list[StockAnswer]:
        return [self.publish_stock(figure) for figure in figures]
