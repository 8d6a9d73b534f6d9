"""A line of figures as the points of an SVG polyline."""

from collections.abc import Sequence

WIDTH = 600
HEIGHT = 100


def points(figures: Sequence[int]) -> str:
    """Place the figures in a box of ``WIDTH`` by ``HEIGHT``, zero at its foot."""
    top = max([*figures, 1])
    step = WIDTH / max(len(figures) - 1, 1)
    return " ".join(
        f"{place * step:.1f},{HEIGHT - figure * HEIGHT / top:.1f}"
        for place, figure in enumerate(figures)
    )
