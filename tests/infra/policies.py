"""Whether IAM would allow a request, by the policies that it knows of."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

Statement = dict[str, Any]


def is_allowed(statements: list[Statement], action: str, resource: str, **context: str) -> bool:
    """An Allow that covers the request, and no Deny that does."""
    effects = {
        statement["Effect"]
        for statement in statements
        if _covers(statement, action, resource, context)
    }
    return effects == {"Allow"}


def _covers(statement: Statement, action: str, resource: str, context: dict[str, str]) -> bool:
    unknown = set(statement) - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    if unknown:
        raise NotImplementedError(f"{unknown} in a statement")
    actions = [each.lower() for each in _listed(statement["Action"])]
    return (
        any(_matches(each, action.lower()) for each in actions)
        and any(_matches(each, resource) for each in _listed(statement["Resource"]))
        and all(
            _holds(operator, wanted, context)
            for operator, wanted in statement.get("Condition", {}).items()
        )
    )


def _holds(operator: str, wanted: dict[str, Any], context: dict[str, str]) -> bool:
    if operator not in ("Bool", "StringEquals"):
        raise NotImplementedError(operator)
    return all(context.get(key) in _listed(values) for key, values in wanted.items())


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _matches(pattern: str, text: str) -> bool:
    # IAM's wildcards are * and ? alone; fnmatch would take [ for one, too.
    return re.fullmatch(fnmatch.translate(pattern.replace("[", "[[]")), text) is not None
