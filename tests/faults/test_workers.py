"""Workers that end, freeze, hang or do not start."""

from __future__ import annotations

import os
import signal

import pytest

from faults.drill import prove
from faults.look import Look, replaced
from faults.processes import has_ended, state
from faults.traffic import LONG, LONG_WINDOWS, SHORT, differs, distinct, probabilities, trailer


@pytest.mark.fault("P1")
def test_a_killed_worker_is_replaced_and_its_job_tried_again(row, under_traffic):
    with under_traffic() as (service, traffic):
        reference = probabilities(service.classify(LONG, windows=LONG_WINDOWS))
        for once in row.repeats(service, traffic):
            answer = service.classify_later(LONG, windows=LONG_WINDOWS)
            victim = service.worker_at_work()
            signs = replaced(service.look(), "killed", "SIGKILL")
            once.begin()
            os.kill(victim, signal.SIGKILL)
            once.detected_when(*signs)
            prove(lambda pid=victim: has_ended(pid), "the process has ended")
            once.recovered_when()
            assert answer.result().status == 200
            once.judge(answer.result(), reference)
        assert not traffic.counts()[2], "no other request has failed"
    row.remark("the job was tried again and answered")


@pytest.mark.fault("P2")
def test_an_input_that_ends_workers_with_sigsegv_is_refused(row, under_traffic):
    with under_traffic() as (service, traffic):
        for once in row.repeats(service, traffic):
            poison = trailer(distinct(once.number), "segfault")
            workers = [worker["pid"] for worker in service.look().workers]
            signs = replaced(service.look(), "crashed", "SIGSEGV")
            once.begin()
            answer = service.classify_later(poison)
            once.detected_when(*signs)
            prove(lambda pids=workers: any(map(has_ended, pids)), "a process has ended")
            assert (answer.result().status, answer.result().problem) == (422, "undecodable-audio")
            once.recovered_when()
            assert once.service.classify(poison).status == 422


@pytest.mark.fault("P3")
def test_two_workers_killed_at_once_are_both_replaced(row, under_traffic):
    with under_traffic(workers=2) as (service, traffic):
        for once in row.repeats(service, traffic):
            workers = [worker["pid"] for worker in service.look().workers]
            signs = replaced(service.look(), "killed", "SIGKILL", count=2)
            once.begin()
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            once.detected_when(*signs)
            prove(lambda pids=workers: all(map(has_ended, pids)), "both processes have ended")
            once.recovered_when()
        # both may have had the same recording, which is not the cause
        assert not any(kind.startswith("422") for kind in traffic.counts()[2]), traffic.counts()[2]


@pytest.mark.fault("P4")
def test_a_frozen_worker_is_replaced_with_a_stack_dump(row, under_traffic):
    with under_traffic() as (service, traffic):
        for once in row.repeats(service, traffic):
            victim = service.worker("idle", "busy", "testing")
            signs = replaced(service.look(), "heartbeat")
            once.begin()
            os.kill(victim, signal.SIGSTOP)
            prove(lambda pid=victim: state(pid) == "T", "the process is stopped")
            once.detected_when(*signs)
            once.recovered_when()
            assert has_ended(victim), (victim, service.look().body["restarts"], service.look().workers)
            assert "File" in service.stack_dump(victim, "heartbeat")


@pytest.mark.fault("P5")
def test_a_worker_whose_native_code_holds_the_lock_is_replaced_with_a_stack_dump(row, under_traffic):
    with under_traffic() as (service, traffic):
        for once in row.repeats(service, traffic):
            victim = service.worker("idle", "busy", "testing")
            index = service.index_of(victim)
            signs = replaced(service.look(), "heartbeat")
            once.begin(victim)
            injected = service.inject_later("hold-gil", worker=index, size=30)
            stopped = lambda now, i=index: (now.workers[i]["heartbeat_age_seconds"] or 1.0) > 0.5  # noqa: E731
            once.detected_when(stopped, *signs)
            once.recovered_when()
            assert has_ended(victim), (victim, service.look().body["restarts"], service.look().workers)
            injected.exception()
            dump = service.stack_dump(victim, "heartbeat")
            assert "sleep" in dump or "fault" in dump, dump


@pytest.mark.fault("P6")
def test_an_endless_request_is_stopped_at_its_deadline(row, under_traffic):
    deadline = 1.0
    with under_traffic(job_timeout_seconds=deadline) as (service, traffic):
        for once in row.repeats(service, traffic):
            for _ in range(99):
                assert service.classify(SHORT).status == 200
            signs = replaced(service.look(), "deadline")
            once.begin()
            once.bound = deadline + 0.3
            answer = service.classify_later(trailer(distinct(once.number), "hang"))
            hanging = lambda now: any(  # noqa: E731  the stage does not end while the heartbeat continues
                w["state"] == "busy" and w["stage_seconds"] > 0.4 and w["heartbeat_age_seconds"] < 0.4
                for w in now.workers
            )
            once.detected_when(hanging, *signs)
            assert (answer.result().status, answer.result().problem) == (504, "inference-timeout")
            once.recovered_when()
            assert "File" in service.stack_dump(None, "deadline")
    row.remark(f"deadline here {deadline:g} s")


@pytest.mark.fault("P8")
def test_workers_that_all_wait_forever_are_replaced(row, under_traffic):
    deadline = 2.0
    with under_traffic(job_timeout_seconds=deadline, max_wait_seconds=0.8) as (service, traffic):
        for once in row.repeats(service, traffic):
            signs = replaced(service.look(), "deadline", count=2)
            once.begin()
            once.bound = deadline + 1.0
            # each from a client of its own: those of one client would be tried one at a time
            answers = [
                service.classify_later(
                    trailer(distinct(number), "lock"), source=f"127.0.{number // 100 + 1}.{number % 100 + 1}"
                )
                for number in (2 * once.number, 2 * once.number + 1)
            ]
            once.detected_when(
                lambda now: sum(w["state"] == "busy" and w["stage_seconds"] > 0.5 for w in now.workers) == 2,
                lambda now: now.unready("queue"),
                *signs,
            )
            assert [answer.result().status for answer in answers] == [504, 504]
            once.recovered_when()
    row.remark(f"deadline here {deadline:g} s; requests that wait longer than 0.8 s are refused")


@pytest.mark.fault("P9")
def test_a_crash_loop_is_reported_and_retried_without_end(row, start):
    # one worker, so that all restarts are of one slot
    with start(workers=1) as service:
        reference = probabilities(service.classify(SHORT))
        for once in row.repeats(service):
            before = service.look().body["restarts"]["total"]
            service.inject("exit-at-start")
            once.begin()
            service.restart_workers()
            found: list[int] = []

            def looping(now: Look, found: list[int] = found, before: int = before) -> bool:
                if now.unready(r"crash_loop: \S"):
                    found.append(now.body["restarts"]["total"] - before)
                return bool(found)

            once.detected_when(looping, lambda now: now.measures("crash_loop", "fail"))
            once.within = found[0] <= 3
            row.figure("restarts until it is reported", found[0])
            after = service.look().body["restarts"]["total"]
            prove(lambda after=after: service.look().body["restarts"]["total"] > after, "it is still being tried")
            assert service.look().live.status == 200
            service.clear_faults()
            once.recovered_when()
            assert not differs(service.classify(SHORT), reference)
