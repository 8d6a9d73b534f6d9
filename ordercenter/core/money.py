"""Money shared out exactly: what is split adds up again, to the fen."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

FEN: Final = Decimal("0.01")


def share_out(
    total: Decimal, weights: Sequence[Decimal], *, quantum: Decimal = FEN
) -> list[Decimal]:
    """Share ``total`` over ``weights``, exact to ``quantum`` and adding up to ``total``.

    Largest remainder; ties go to the earlier. Without any weight everything stays unshared
    (zeros), so that the caller's sum shows it.
    """
    basis = sum(weights, Decimal(0))
    if basis <= 0:
        return [Decimal(0).quantize(quantum) for _ in weights]
    units = int(total / quantum)
    # Integers: (units x weight) can exceed the decimal context's 28 digits.
    parts = [int(weight / quantum) for weight in weights]
    whole_basis = sum(parts)
    shares = [units * part // whole_basis for part in parts]
    rests = [units * part % whole_basis for part in parts]
    missing = units - sum(shares)
    for index in sorted(range(len(parts)), key=lambda i: (-rests[i], i))[:missing]:
        shares[index] += 1
    return [(Decimal(share) * quantum).quantize(quantum) for share in shares]
