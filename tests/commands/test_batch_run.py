"""``ccmusic batch``: runs with a real pipeline, in processes that are really killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ccmusic import cli
from ccmusic.batch.catalogue import Catalogue
from ccmusic.batch.found_tracks import FoundTracks
from ccmusic.batch.run_lock import is_running, only_run
from ccmusic.batch.track_row import TrackRow
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.genres import LABELS
from ccmusic.inference.acoustic_identity import EMBEDDING_SIZE
from support.hostile_files import HOSTILE
from support.recordings import bin_frequency, melody, tone, wav
from support.waiting import PATIENCE_SECONDS, wait_until

Run = Callable[..., int]


@pytest.fixture(autouse=True)
def _model(model_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCMUSIC_MODEL", str(model_directory))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Six recordings, each likeliest of another genre."""
    folder = tmp_path / "music"
    folder.mkdir()
    for band in range(6):
        (folder / f"{band}.wav").write_bytes(wav(tone(bin_frequency(5 * band + 2), 2.0)))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def batch(*arguments: object) -> int:
        return cli.main(["batch", *map(str, arguments), "--out", str(tmp_path / "out"), "--jobs", "1"])

    return batch


@pytest.fixture
def rows(tmp_path: Path) -> Callable[[], dict[str, TrackRow]]:
    def read() -> dict[str, TrackRow]:
        with Catalogue.open(tmp_path / "out", read_only=True) as catalogue:
            return {row.file.name: row for row in catalogue.tracks()}

    return read


Rows = Callable[[], dict[str, TrackRow]]


def genres(rows: dict[str, TrackRow]) -> dict[str, str | None]:
    return {name: row.genre for name, row in rows.items()}


EXPECTED = {f"{band}.wav": LABELS[band] for band in range(6)}


def test_a_library_is_labelled_as_classify_labels_it(
    music: Path, run: Run, rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(music) == ExitCode.OK
    assert capsys.readouterr().out == "found 6 = 6 ok + 0 failed + 0 skipped + 0 stale\n"
    assert genres(rows()) == EXPECTED
    cli.main(["classify", "--json", "--top-k", "16", str(music / "3.wav")])
    answer = json.loads(capsys.readouterr().out)
    stored = json.loads(rows()["3.wav"].answer or "")
    for of in (answer, stored):
        del of["timings"]
    del answer["windows"], answer["file"]
    assert stored == answer


def test_bad_files_are_counted_and_the_exit_code_says_so(
    music: Path, run: Run, rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    (music / "broken.flac").write_bytes(b"fLaC" + bytes(500))
    os.mkfifo(music / "pipe.mp3")
    assert run(music) == ExitCode.SOME_FAILED
    assert capsys.readouterr().out == "found 8 = 6 ok + 1 failed + 1 skipped + 0 stale\n"
    broken = rows()["broken.flac"]
    assert (broken.error_type, broken.attempts) == ("undecodable-audio", 1)
    assert run(music) == ExitCode.SOME_FAILED
    assert rows()["broken.flac"].attempts == 1
    assert run(music, "--retry-failed") == ExitCode.SOME_FAILED
    assert rows()["broken.flac"].attempts == 2
    (music / "broken.flac").write_bytes((music / "0.wav").read_bytes())
    assert run(music) == ExitCode.OK


def test_other_settings_make_answers_stale_until_they_are_redone(
    music: Path, run: Run, rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(music) == ExitCode.OK
    assert run(music, "--windows", "1") == ExitCode.OK
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "6 answers are of another model, version or setting; --redo-stale makes them again",
        "found 6 = 0 ok + 0 failed + 0 skipped + 6 stale",
    ]
    assert run(music, "--windows", "1", "--redo-stale") == ExitCode.OK
    assert {row.attempts for row in rows().values()} == {2}


def test_windows_are_kept_on_request(music: Path, run: Run, rows: Rows) -> None:
    assert run(music / "0.wav", "--keep-windows") == ExitCode.OK
    assert len(json.loads(rows()["0.wav"].answer or "")["windows"]) == 1


def test_music_has_an_embedding_and_a_tone_has_none(music: Path, run: Run, rows: Rows) -> None:
    (music / "song.wav").write_bytes(wav(melody(1, 12.0)))
    assert run(music / "song.wav", music / "0.wav") == ExitCode.OK
    assert len(rows()["song.wav"].embedding or b"") == 2 * EMBEDDING_SIZE
    assert rows()["0.wav"].embedding is None


def test_json_lines_are_for_another_program(music: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(music, "--json") == ExitCode.OK
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {event["event"] for event in events} == {"walk", "progress", "end"}
    assert [event["event"] for event in events].count("end") == 1
    last = events[-1]
    assert (last["event"], last["found"], last["ok"], last["waiting"]) == ("end", 6, 6, 0)
    assert last["memory_bytes"] > 10_000_000
    assert set(last) >= {"tracks_per_second", "seconds_left"}


def test_a_path_without_recordings_is_refused(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty") == ExitCode.USAGE
    assert "names no recording" in capsys.readouterr().err


def test_a_second_run_on_the_same_folder_is_refused(
    music: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with only_run(tmp_path / "out"):
        assert run(music) == ExitCode.CATALOGUE
    assert "is in use: the run of process" in capsys.readouterr().err


def test_a_moved_copied_or_retagged_file_takes_over_the_answer(
    music: Path, run: Run, rows: Rows, tmp_path: Path
) -> None:
    assert run(music) == ExitCode.OK
    before = rows()
    (music / "0.wav").rename(music / "moved.wav")
    (music / "copied.wav").write_bytes((music / "1.wav").read_bytes())
    tagged = (music / "2.wav").read_bytes() + b"LIST\x0c\0\0\0INFOIGNR\0\0\0\0"
    (music / "2.wav").write_bytes(b"RIFF" + (len(tagged) - 8).to_bytes(4, "little") + tagged[8:])
    (music / "3.wav").write_bytes((music / "4.wav").read_bytes()[:-4000])  # another recording now
    assert run(music) == ExitCode.OK
    after = rows()
    assert (after["0.wav"].status, after["0.wav"].answer) == ("skipped", before["0.wav"].answer)
    for name, source in (("moved.wav", "0.wav"), ("copied.wav", "1.wav")):
        assert (after[name].status, after[name].same_as) == ("ok", before[source].id)
        assert (after[name].answer, after[name].attempts) == (before[source].answer, 0)
    retagged = after["2.wav"]
    assert (retagged.same_as, retagged.answer, retagged.attempts) == (None, before["2.wav"].answer, 1)
    assert retagged.size == len(tagged)
    assert (after["3.wav"].genre, after["3.wav"].attempts) == (LABELS[4], 2)


def test_an_answer_is_not_taken_over_from_another_model_or_setting(
    music: Path, run: Run, rows: Rows, tmp_path: Path
) -> None:
    assert run(music / "0.wav") == ExitCode.OK
    (music / "copied.wav").write_bytes((music / "0.wav").read_bytes())
    assert run(music / "copied.wav", "--windows", "1") == ExitCode.OK
    assert (rows()["copied.wav"].same_as, rows()["copied.wav"].attempts) == (None, 1)


def test_a_full_disk_ends_the_run_and_the_same_command_continues(
    music: Path, run: Run, rows: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = FoundTracks.mark_gone

    def fill_the_disk(tracks: FoundTracks, folders: list[bytes]) -> int:
        (pages,) = tracks._connection.execute("PRAGMA page_count").fetchone()
        tracks._connection.execute(f"PRAGMA max_page_count = {pages + 3}")
        return real(tracks, folders)

    monkeypatch.setattr(FoundTracks, "mark_gone", fill_the_disk)
    assert run(music) == ExitCode.CATALOGUE
    assert "No space is left" in capsys.readouterr().err
    before = {name: row for name, row in rows().items() if row.status == "ok"}
    assert len(before) < 6
    monkeypatch.setattr(FoundTracks, "mark_gone", real)
    assert run(music) == ExitCode.OK
    after = rows()
    assert {name: after[name] for name in before} == before
    assert {row.attempts for row in after.values()} == {1}


# kills


def killed(tmp_path: Path, moment: str, n: int, *arguments: object) -> None:
    """Run until the whole process group is killed at the moment."""
    command = [sys.executable, "-m", "support.killed_batch", moment, str(n), "batch", *map(str, arguments)]
    command += ["--out", str(tmp_path / "out"), "--jobs", "2"]
    ended = subprocess.run(command, start_new_session=True, timeout=PATIENCE_SECONDS, check=False)
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("moment", "n"),
    # answers may come in pairs: after three commits all six could be there
    [("walk", 3), ("commit", 1), ("commit", 3), ("committed", 1), ("committed", 2), ("analysis", 0), ("analysis", 3)],
)
def test_a_run_that_was_killed_continues_and_every_track_is_analysed_once(
    moment: str, n: int, music: Path, run: Run, rows: Rows, tmp_path: Path
) -> None:
    killed(tmp_path, moment, n, music)
    assert not is_running(tmp_path / "out")
    before = {name: row for name, row in rows().items() if row.status == "ok"}
    if moment == "walk":
        assert rows() == {}
    else:
        assert len(rows()) == 6
        least = n - 1 if moment == "commit" else n
        assert least <= len(before) < 6
    assert run(music) == ExitCode.OK
    after = rows()
    assert genres(after) == EXPECTED
    assert {row.attempts for row in after.values()} == {1}
    assert {name: after[name] for name in before} == before


def test_a_run_that_is_killed_again_and_again_ends(music: Path, run: Run, rows: Rows, tmp_path: Path) -> None:
    for _ in range(3):
        killed(tmp_path, "committed", 1, music)
    assert run(music) == ExitCode.OK
    assert genres(rows()) == EXPECTED
    assert {row.attempts for row in rows().values()} == {1}


# signals


@pytest.fixture
def working(music: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run of six recordings, the last of which never ends; five have answers."""
    code = (
        "import sys; from support import batch_tasks; batch_tasks.replace_for_good(b'5.wav'); from ccmusic import cli; "
    )
    command = [sys.executable, "-c", f"{code}sys.exit(cli.main(sys.argv[1:]))", "batch"]
    command += [*sorted(map(str, music.iterdir())), "--out", str(tmp_path / "out"), "--jobs", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            wait_until(lambda: ok_count(tmp_path / "out") == 5, "five tracks have answers")
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None


def ok_count(folder: Path) -> int:
    if not (folder / "catalogue.sqlite3").exists():
        return 0
    status = subprocess.run(
        [sys.executable, "-m", "ccmusic.cli", "batch", "status", str(folder), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    ).stdout
    return int(json.loads(status)["counts"]["ok"]) if status else 0


@pytest.mark.parametrize(
    ("number", "to_the_group", "code"),
    [
        (signal.SIGINT, True, ExitCode.INTERRUPTED),
        (signal.SIGTERM, True, ExitCode.TERMINATED),
        (signal.SIGTERM, False, ExitCode.TERMINATED),
    ],
)
def test_a_signal_ends_the_run_and_it_says_how_to_continue(
    number: signal.Signals,
    to_the_group: bool,
    code: ExitCode,
    working: subprocess.Popen[str],
    run: Run,
    rows: Rows,
    music: Path,
    tmp_path: Path,
) -> None:
    assert is_running(tmp_path / "out")
    os.killpg(working.pid, number) if to_the_group else working.send_signal(number)
    _, errors = working.communicate(timeout=PATIENCE_SECONDS)
    assert working.returncode == code
    assert errors == "ccmusic: stopped; 1 tracks wait. To continue, give the same command again.\n"
    assert rows()["5.wav"].status == "waiting"
    assert run(music) == ExitCode.OK
    assert genres(rows()) == EXPECTED
    assert {row.attempts for row in rows().values()} == {1}


def test_status_of_a_run_that_works_was_killed_and_has_finished(
    working: subprocess.Popen[str], run: Run, music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def status() -> list[str]:
        assert cli.main(["batch", "status", str(tmp_path / "out")]) == ExitCode.OK
        return capsys.readouterr().out.splitlines()

    lines = status()
    assert lines[0] == "found 6 = 5 ok + 0 failed + 0 skipped + 0 stale + 1 waiting"
    assert lines[1].startswith("a run is working since ")
    assert lines[1].endswith("; 5 analysed")
    os.killpg(working.pid, signal.SIGKILL)
    working.wait()
    assert f"was killed; give its command again: ccmusic batch {music}" in status()[1]
    (music / "5.wav").write_bytes(b"fLaC")
    assert run(music) == ExitCode.SOME_FAILED
    capsys.readouterr()
    lines = status()
    assert lines[:2] == [
        "found 6 = 5 ok + 1 failed + 0 skipped + 0 stale",
        "  failed: 1 undecodable-audio",
    ]
    assert " was finished at " in lines[2]


def test_status_of_a_folder_without_a_catalogue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["batch", "status", str(tmp_path)]) == ExitCode.CATALOGUE
    assert "There is no catalogue in" in capsys.readouterr().err


# watch


def test_a_watch_labels_what_arrives_and_ends_at_a_signal(music: Path, tmp_path: Path, rows: Rows) -> None:
    late = music.parent / "late.wav"
    (music / "5.wav").rename(late)
    command = [sys.executable, "-m", "ccmusic.cli", "batch", str(music), "--out", str(tmp_path / "out"), "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "found 5 = 5 ok + 0 failed + 0 skipped + 0 stale\n"
            late.rename(music / "5.wav")
            assert process.stdout.readline() == "found 6 = 6 ok + 0 failed + 0 skipped + 0 stale\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_SECONDS) == ExitCode.OK
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert genres(rows()) == EXPECTED
    assert {row.attempts for row in rows().values()} == {1}


def test_a_watch_needs_a_folder(music: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(music / "0.wav", "--watch") == ExitCode.USAGE
    assert "--watch needs a folder" in capsys.readouterr().err


# files that end or hang their process


@pytest.mark.parametrize(("fault", "kind"), [("die_at", "undecodable-audio"), ("hang_at", "inference-timeout")])
def test_a_file_that_ends_or_hangs_its_process_fails_alone(
    fault: str, kind: str, music: Path, run: Run, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support import batch_tasks

    if fault == "hang_at":
        monkeypatch.setenv("CCMUSIC_JOB_TIMEOUT_SECONDS", "15")  # the other files need seconds on a busy machine
    with getattr(batch_tasks, fault)(b"2.wav"):
        assert run(music) == ExitCode.SOME_FAILED
    after = rows()
    assert after["2.wav"].error_type == kind
    assert {row.status for name, row in after.items() if name != "2.wav"} == {"ok"}
    assert ("CCMUSIC_JOB_TIMEOUT_SECONDS" in (after["2.wav"].error_detail or "")) == (kind == "inference-timeout")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux")
@pytest.mark.parametrize("name", ["mp4-sample-sizes", "mkv-tags"])
def test_the_kernel_bounds_what_a_file_costs(name: str, music: Path, run: Run, rows: Rows) -> None:
    """Without a bound the first takes 704 MB, the second half a minute in a library that reads nothing."""
    hostile = music / f"9.{name[:3]}"
    hostile.write_bytes(HOSTILE[name]())
    assert run(music) == ExitCode.SOME_FAILED
    after = rows()
    failed = after.pop(hostile.name)
    is_bound = "than the music in it needs" in (failed.error_detail or "")
    assert is_bound or (name, failed.error_type) == ("mp4-sample-sizes", "empty-audio")
    assert failed.seconds is None or failed.seconds < 60.0
    assert genres(after) == EXPECTED


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux")
def test_a_process_that_analyses_reaches_no_network(music: Path, run: Run, rows: Rows) -> None:
    from support import batch_tasks

    with batch_tasks.connect_at(b"2.wav"):
        assert run(music) == ExitCode.SOME_FAILED
    after = rows()
    assert "PermissionError" in (after["2.wav"].error_detail or "")
    assert {row.status for name, row in after.items() if name != "2.wav"} == {"ok"}
