"""Facts for a batch of orders, computed set-wise: a few statements whatever the batch size."""

from risk.facts.computing import compute
from risk.facts.inputs import facts_from_inputs, subject_inputs

__all__ = ["compute", "facts_from_inputs", "subject_inputs"]
