"""How the generic JSON interface fills the templates of its options."""

import re
from collections.abc import Mapping
from typing import Any, Final

_PLACE: Final = re.compile(r"\{([a-z_]+)\}")


def filled(template: Any, facts: Mapping[str, Any]) -> Any:
    """Put ``facts`` where a template says ``{name}``; a text that is one place takes the value
    as it is, lists included. Other braces stay."""
    if isinstance(template, str):
        whole = _PLACE.fullmatch(template)
        if whole and whole[1] in facts:
            return facts[whole[1]]
        return _PLACE.sub(lambda found: str(facts.get(found[1], found[0])), template)
    if isinstance(template, Mapping):
        return {key: filled(value, facts) for key, value in template.items()}
    return [filled(one, facts) for one in template] if isinstance(template, list) else template
