from ccmusic.workers import restart_log
from ccmusic.workers.records import RESTART_REASONS
from ccmusic.workers.restart_log import RestartLog


def test_every_reason_has_a_count_from_the_start():
    counts, restarts, dumps = RestartLog(lambda: None).read()
    assert counts == dict.fromkeys(RESTART_REASONS, 0)
    assert (restarts, dumps) == ((), ())


def test_each_entry_is_an_event():
    events = []
    log = RestartLog(lambda: events.append(1))
    log.record_restart(0, "killed", "ended by SIGKILL")
    log.record_dump(0, 7, "deadline", "a job took too long", "Thread 1")
    log.notify()
    assert len(events) == 3


def test_a_restart_whose_recording_is_not_the_cause_counts_as_one_without():
    events = []
    log = RestartLog(lambda: events.append(1))
    log.record_restart(0, "crashed", "ended by SIGSEGV", 5, "client")
    log.record_restart(1, "crashed", "ended by SIGSEGV", 6, "client")
    log.clear_job(5)
    log.clear_job(7)
    assert [(restart.worker, restart.job) for restart in log.read()[1]] == [(0, None), (1, 6)]
    assert len(events) == 3


def test_a_process_without_a_stack_dump_is_no_entry():
    events = []
    log = RestartLog(lambda: events.append(1))
    for text in (None, ""):
        log.record_dump(0, 7, "killed", "ended by SIGKILL", text)
    assert log.read()[2] == ()
    assert events == []


def test_the_last_entries_are_kept_and_all_are_counted(monkeypatch):
    monkeypatch.setattr(restart_log, "KEPT_DUMPS", 2)
    monkeypatch.setattr(restart_log, "KEPT_RESTARTS", 3)
    log = RestartLog(lambda: None)
    for number in range(5):
        log.record_restart(number, "crashed", f"end {number}")
        log.record_dump(number, 7, "crashed", f"end {number}", "Thread 1")
    counts, restarts, dumps = log.read()
    assert counts["crashed"] == 5
    assert [restart.worker for restart in restarts] == [2, 3, 4]
    assert [dump.id for dump in dumps] == [4, 5]
