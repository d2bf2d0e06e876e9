"""The verdict can fail: each way in which a result is not good enough is told. Run by `run` before every suite."""
import verdict


def result(case, behavior="OK", close="OK"):
    return {"id": case, "behavior": behavior, "behaviorClose": close, "remoteCloseCode": 1000}


def failed(*results, expected=("7.1.6", "9.1.1")):
    return [case for case, _, _ in verdict.judge(expected, results)]


def check():
    good = result("9.1.1")
    assert failed(result("7.1.6", "INFORMATIONAL", "INFORMATIONAL"), good) == []
    assert failed(result("7.1.6"), good) == []
    assert failed(good) == ["7.1.6"], "a missing case"
    assert failed(result("7.1.6"), good, good) == ["9.1.1"], "a case that came twice"
    assert failed(result("7.1.6"), good, result("1.1.1")) == ["1.1.1"], "a case nobody asked for"
    for behavior in ("NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED", "FAILED"):
        assert failed(result("7.1.6"), result("9.1.1", behavior)) == ["9.1.1"], behavior
    for close in ("WRONG CODE", "UNCLEAN", "FAILED BY CLIENT", "INFORMATIONAL", "FAILED"):
        assert failed(result("7.1.6"), result("9.1.1", close=close)) == ["9.1.1"], close
    assert failed(result("7.1.6", "FAILED"), good) == ["7.1.6"]
