"""The closed set of codes that the checks of this service use, and what each means.

A code is for programs: the alert rules, the page, a client of the metric ``ccmusic_check_info``. The cause and the
message of a check are for people and may change.
"""

from __future__ import annotations

CHECK_CODES = {
    "ok": "passes",
    "not_observed": "passes; not observed yet",
    "not_started": "no sample has been taken yet",
    "raised": "the check itself raised an exception",
    "stuck": "the check has not returned in time",
    "stale": "too old: the sampling has stopped, or self-tests are overdue",
    "draining": "the service was told to end and takes no new work",
    "loading": "the model is being loaded for the first time",
    "preparing": "a checkpoint is being converted before the first load",
    "load_failed": "the model could not be loaded",
    "dependency_missing": "a Python module is missing",
    "file_missing": "the model file is missing",
    "file_unreadable": "the model file or its card cannot be read",
    "file_changed": "the model's files on disk are not those of the model in use",
    "model_replaced": "a new worker loaded another model than the one in use and was refused",
    "other_model": "another model or precision than the configured one is in use",
    "blocked": "a loop (HTTP or supervision) does not turn",
    "stuck_thread": "a thread that replaces workers is stuck and cannot be replaced itself",
    "helper_lost": "the process that forks the workers was lost; another one is starting",
    "no_process": "no process can be started: a limit is reached, or the fork server does not start",
    "paused": "the whole process was stopped for a time",
    "none_ready": "no worker is ready",
    "some_not_ready": "fewer workers than configured are ready",
    "crash_loop": "workers restart again and again",
    "recordings_end_workers": "recordings of clients end workers; others are answered",
    "queue_too_old": "recordings wait longer than the limit",
    "wrong_answer": "the last answer to the golden clips was wrong",
    "slow": "the golden clips take much longer than at best",
    "internal_errors": "too large a share of the answers are internal errors",
    "not_writable": "a directory of temporary files cannot be written to",
    "ended": "the server on the management port has ended",
    "directory_missing": "a configured directory is missing",
    "page_failed": "the page could not be started, or stopped working",
    "nearly_full": "memory, disk or descriptors are nearly used up",
    "under_pressure": "the processes wait for memory",
    "full": "no descriptor is left",
    "log_lost": "lines of the log were lost, because its reader takes none",
    "drift": "the recordings differ from the training set",
}
