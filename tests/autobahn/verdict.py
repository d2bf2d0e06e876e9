"""What counts as passed: the strictest reading of the suite's results.

A case passes with OK in both behaviours, or with INFORMATIONAL where the suite gives nothing better. NON-STRICT,
UNIMPLEMENTED, a wrong close code, a missing case and a case that was reported twice have all failed.
"""

# 7.1.6: data behind a close. 7.13.*: a close code that the RFC says nothing about.
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}


def judge(expected, results):
    """The failures among the `expected` ids: a list of (id, why in one line, result or None)."""
    by_id = {}
    for result in results:
        by_id.setdefault(result["id"], []).append(result)
    failures = []
    for case in expected:
        found = by_id.pop(case, [])
        if len(found) == 1:
            if not passed(found[0]):
                failures.append((case, summary(found[0]), found[0]))
        else:
            failures.append((case, "no result" if not found else f"{len(found)} results", None))
    failures += [(case, "was not asked for", None) for case in by_id]
    return failures


def passed(result):
    allowed = {"OK", "INFORMATIONAL"} if result["id"] in INFORMATIONAL else {"OK"}
    return result["behavior"] in allowed and result["behaviorClose"] in allowed


def summary(result):
    return f"{result['behavior']}, close {result['behaviorClose']} (code {result['remoteCloseCode']})"


def explanation(result):
    """Lines that tell a failed case: what was expected, what came."""
    yield f"expected: {' '.join(result.get('expectation', '').split())}"
    for name, events in result.get("expected", {}).items():
        yield f"events for {name}: {events}"
    yield f"received: {result.get('received')}"
    for key in ("result", "resultClose"):
        if result.get(key):
            yield f"{key}: {result[key]}"
    yield from (entry for entry in result.get("wirelog", [])[:20] if isinstance(entry, str))
