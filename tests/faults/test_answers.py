"""Workers that give wrong answers."""

from __future__ import annotations

import pytest

from faults.look import replaced
from faults.traffic import SHORT, probabilities


@pytest.mark.fault("M4")
def test_a_flipped_bit_of_the_weights_is_found_by_the_self_test(row, under_traffic):
    period = 4.0  # looking for a weight to change takes up to 6 s on a slow machine, and three periods are late
    bits = (12, 22)  # the first changes an answer by less than any tolerance, the second makes it wrong
    with under_traffic(self_test_seconds=period) as (service, traffic):
        for once in row.repeats(service, traffic):
            index = once.number % 2
            look = service.look()
            victim = look.workers[index]["pid"]
            signs = replaced(look, "self_test")
            once.bound = period + look.body["self_test"]["seconds"]
            answer = service.inject("corrupt-weights", worker=index, size=bits[once.number % 2])
            once.begin()  # the worker looks for the weight first, for seconds on a slow machine
            assert answer.json["changes"] >= 1, answer.text
            once.detected_when(*signs, lambda now: now.metric("ccmusic_self_test_failures_total") >= 1)
            once.recovered_when()
            assert service.look().workers[index]["pid"] != victim
        row.remark(
            f"bound: the period, here {period:g} s, and one self-test's time; bit 12 and bit 22 of a tensor in turn; "
            f"{traffic.differing} of {traffic.counts()[0]} answers differed in a digit before the worker was replaced"
        )


@pytest.mark.fault("M5")
def test_nan_is_never_an_answer(row, under_traffic):
    # one worker, so that it gets the next request; no self-test in time, so the check of the output must find it
    with under_traffic(workers=1, self_test_seconds=3600) as (service, traffic):
        for once in row.repeats(service, traffic):
            signs = replaced(service.look(), "non_finite")
            with traffic.paused():
                answer = service.inject("nan-weights", worker=0)
                assert answer.json["changes"] >= 1, answer.text
                once.begin()
                found = service.classify_later(SHORT)
                once.detected_when(*signs)
                if found.result().status == 200:  # tried again by a new worker, with the right answer
                    once.judge(found.result(), traffic.reference)
                    row.remark("the request was tried again by a new worker, with the right answer")
                else:
                    assert (found.result().status, found.result().problem) == (500, "internal")
                    row.remark("the request was answered with 500")
            once.within = True
            once.recovered_when()
            assert probabilities(service.classify(SHORT)) == traffic.reference
