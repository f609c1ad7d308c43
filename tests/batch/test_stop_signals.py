from __future__ import annotations

import signal

import pytest

from ccmusic.batch.stop_signals import Stopped, StopSignals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_at_its_next_check_and_a_second_one_at_once(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # the program that runs the tests may have it ignored
    try:
        with StopSignals() as stop:
            stop.check()
            signal.raise_signal(number)
            with pytest.raises(Stopped) as stopped:
                stop.check()
            assert stopped.value.signal == number
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as stop:
            signal.raise_signal(signal.SIGHUP)
            stop.check()
    finally:
        signal.signal(signal.SIGHUP, before)
