import signal

import pytest

from ccmusic.workers.worker import EXIT_OUT_OF_MEMORY
from ccmusic.workers.worker_process import FORK_SERVER_GONE, cause_of_exit


@pytest.mark.parametrize(
    ("code", "reason", "cause"),
    [
        (None, "crashed", "has not ended"),
        (0, "crashed", "exit code 0"),
        (3, "crashed", "exit code 3"),
        (EXIT_OUT_OF_MEMORY, "out_of_memory", "not enough memory"),
        (-signal.SIGKILL, "killed", "SIGKILL"),
        (-signal.SIGSEGV, "crashed", "SIGSEGV"),
        (-signal.SIGABRT, "crashed", "SIGABRT"),
        (FORK_SERVER_GONE, "crashed", "fork server"),
    ],
)
def test_each_exit_code_has_a_reason_and_a_cause(code, reason, cause):
    assert cause_of_exit(code)[0] == reason
    assert cause in cause_of_exit(code)[1]
