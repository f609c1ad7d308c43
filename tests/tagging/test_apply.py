"""A plan is carried out file by file: a file is the old one or the new one, whatever happens meanwhile."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest

from ccmusic.audio.payload_hash import payload_hash
from ccmusic.errors import CcmusicError, InsufficientStorage, TagsInUse
from ccmusic.tagging import changes
from ccmusic.tagging.apply import apply_plan, undo, verify_plan
from ccmusic.tagging.changes import TagOutcome
from ccmusic.tagging.fields import as_stored, change_fields, read_fields
from ccmusic.tagging.journal import Journal
from ccmusic.tagging.replacement import STEPS
from ccmusic.tagging.second_reader import Sound
from support.killed import FULL, run_until
from support.small_disk import fill
from support.tagged import GENRES, SONGS, make_plan, make_song

OWN = {"CCMUSIC_GENRE": "Soul_or_RnB"}
STEPS_WITH_COPY = STEPS[STEPS.index("copied") : STEPS.index("renamed")]


def apply(plan: Path, **how: object) -> list[TagOutcome]:
    with Journal(plan.with_suffix(".journal")) as journal:
        return list(apply_plan(plan, journal, **how))


def undone(plan: Path, **how: object) -> list[TagOutcome]:
    with Journal(plan.with_suffix(".journal")) as journal:
        return list(undo(journal, **how))


def events(plan: Path) -> list[str]:
    return [json.loads(line).get("event") for line in plan.with_suffix(".journal").read_text().splitlines()][1:]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "music").mkdir()
    return tmp_path / "music"


@pytest.mark.parametrize("name", SONGS)
def test_a_plan_is_applied_verified_and_undone(name: str, folder: Path, tmp_path: Path) -> None:
    song = make_song(name, folder)
    before = read_fields(song)
    sound = payload_hash(song)
    plan = make_plan(tmp_path / "plan", song, genres=GENRES, own=OWN)
    assert [outcome.what for outcome in verify_plan(plan)] == ["left"]
    assert apply(plan) == [TagOutcome(song, "written")]
    after = read_fields(song)
    assert (after.genres, after.own, after.others) == (as_stored(song, GENRES), OWN, before.others)
    assert payload_hash(song) == sound
    assert list(verify_plan(plan)) == [TagOutcome(song, "as planned")]
    assert apply(plan) == [TagOutcome(song, "as planned")]
    assert undone(plan) == [TagOutcome(song, "written")]
    assert read_fields(song) == before
    assert payload_hash(song) == sound
    assert undone(plan) == []
    assert names(folder) == [name]


def test_steps_happen_in_the_documented_order(folder: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    plan = make_plan(tmp_path / "plan", make_song("song.flac", folder))
    apply(plan, on_step=steps.append)
    assert tuple(steps) == STEPS
    assert events(plan) == ["begin", "rename", "done"]


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_apply_leaves_the_old_file_or_the_new_one(step: str, folder: Path, tmp_path: Path) -> None:
    songs = [make_song("ID3v2.4.mp3", folder), make_song("song.flac", folder)]
    plan, journal = make_plan(tmp_path / "plan", *songs), tmp_path / "plan.journal"
    before = [song.read_bytes() for song in songs]
    fields = [read_fields(song) for song in songs]
    assert run_until(step, "apply", plan, journal) == -9
    is_new = STEPS.index(step) >= STEPS.index("renamed")
    assert (songs[0].read_bytes() != before[0]) == is_new
    assert songs[1].read_bytes() == before[1]
    first, second = apply(plan)
    assert (first.what, second.what) == ("as planned" if is_new else "written", "written")
    assert names(folder) == ["ID3v2.4.mp3", "song.flac"]
    assert all(read_fields(song).genres == tuple(GENRES) for song in songs)
    undone(plan)
    assert [read_fields(song) for song in songs] == fields


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_undo_is_completed(step: str, folder: Path, tmp_path: Path) -> None:
    song = make_song("song.m4a", folder)
    plan, journal = make_plan(tmp_path / "plan", song), tmp_path / "plan.journal"
    before = read_fields(song)
    apply(plan)
    written = song.read_bytes()
    assert run_until(step, "undo", plan, journal) == -9
    is_old = STEPS.index(step) >= STEPS.index("renamed")
    assert (song.read_bytes() == written) != is_old
    assert [outcome.what for outcome in undone(plan)] == ([] if is_old else ["written"])
    assert read_fields(song) == before
    assert names(folder) == ["song.m4a"]


@pytest.mark.parametrize("step", STEPS_WITH_COPY)
def test_an_error_at_any_step_leaves_the_file_and_no_copy(step: str, folder: Path, tmp_path: Path) -> None:
    def fail(name: str) -> None:
        if name == step:
            raise PermissionError(13, "Permission denied")

    song = make_song("song.flac", folder)
    plan, before = make_plan(tmp_path / "plan", song), song.read_bytes()
    (outcome,) = apply(plan, on_step=fail)
    assert (outcome.what, outcome.reason) == ("left", "cannot be changed: Permission denied")
    assert song.read_bytes() == before
    assert names(folder) == ["song.flac"]
    assert events(plan)[-1] == "dropped"


def test_on_a_full_disk_the_file_stays_and_the_error_says_so(small_disk: Path, tmp_path: Path) -> None:
    song = make_song("bare.wav", small_disk)
    plan, before = make_plan(tmp_path / "plan", song), song.read_bytes()
    with pytest.raises(InsufficientStorage, match="No space is left"):
        apply(plan)
    assert song.read_bytes() == before
    assert names(small_disk) == ["bare.wav"]
    assert events(plan) == ["begin", "dropped"]


def test_in_a_library_that_cannot_be_written_files_are_left(small_disk: Path, tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "plan", make_song("song.flac", small_disk))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert [outcome.reason for outcome in apply(plan)] == ["cannot be changed: Read-only file system"]
    assert "has no genre" in next(verify_plan(plan)).reason


def test_with_a_full_journal_the_file_stays(small_disk: Path, folder: Path, tmp_path: Path) -> None:
    songs = [make_song(name, folder) for name in SONGS]
    plan = make_plan(tmp_path / "plan", *songs)
    journal_path = small_disk / "journal"
    with Journal(journal_path):
        pass
    fill(small_disk / "filling", left=4096)
    before = {song: song.read_bytes() for song in songs}
    with Journal(journal_path) as journal, pytest.raises(InsufficientStorage):
        for outcome in apply_plan(plan, journal):
            del before[outcome.path]
    assert len(before) > 1
    assert all(song.read_bytes() == content for song, content in before.items())
    assert names(folder) == sorted(SONGS)
    (small_disk / "filling").unlink()
    with Journal(journal_path) as journal:
        assert {outcome.what for outcome in apply_plan(plan, journal)} == {"as planned", "written"}
        assert len(list(undo(journal))) == len(songs)


@pytest.mark.parametrize("largest", [4096, 100_000, 352_900])
def test_where_no_file_may_grow_the_song_stays(largest: int, folder: Path, tmp_path: Path) -> None:
    song = make_song("bare.wav", folder)
    plan, before = make_plan(tmp_path / "plan", song), song.read_bytes()
    assert run_until("never", "apply", plan, tmp_path / "plan.journal", largest_file=largest) == FULL
    assert song.read_bytes() == before
    assert names(folder) == ["bare.wav"]


def test_of_two_commands_at_once_the_second_is_refused(folder: Path, tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "plan", make_song("song.flac", folder))
    refused: list[str] = []

    def second(step: str) -> None:
        try:
            apply(plan)
        except TagsInUse:
            refused.append(step)

    assert [outcome.what for outcome in apply(plan, on_step=second)] == ["written"]
    assert refused == list(STEPS)


def test_two_plans_do_not_change_one_file_at_once(folder: Path, tmp_path: Path) -> None:
    song = make_song("song.flac", folder)
    first = make_plan(tmp_path / "first", song)
    other = make_plan(tmp_path / "other", song, genres=["Jazz"])
    outcomes: list[TagOutcome] = []

    def second(_: str) -> None:
        outcomes.extend(apply(other))

    assert [outcome.what for outcome in apply(first, on_step=second)] == ["written"]
    assert {outcome.what for outcome in outcomes} == {"left"}
    assert read_fields(song).genres == tuple(GENRES)


def test_a_file_that_was_changed_since_the_plan_is_left(folder: Path, tmp_path: Path) -> None:
    retagged, other_sound = make_song("song.flac", folder), make_song("song.wav", folder)
    moved = make_song("song.opus", folder)
    plan = make_plan(tmp_path / "plan", retagged, other_sound, moved)
    change_fields(retagged, ["Polka"], None)
    content = bytearray(other_sound.read_bytes())
    content[100_000] ^= 1
    other_sound.write_bytes(content)
    moved.unlink()
    before = retagged.read_bytes(), other_sound.read_bytes()
    outcomes = apply(plan)
    assert [outcome.what for outcome in outcomes] == ["left"] * 3
    assert [outcome.reason for outcome in outcomes[:2]] == ["was changed since the plan was made"] * 2
    assert "No such file" in outcomes[2].reason
    assert (retagged.read_bytes(), other_sound.read_bytes()) == before


@pytest.mark.parametrize("step", STEPS_WITH_COPY)
def test_a_file_that_another_program_changes_meanwhile_is_left(step: str, folder: Path, tmp_path: Path) -> None:
    song = make_song("song.flac", folder)
    os.utime(song, ns=(0, 0))  # the change below has another time, however coarse the file system's clock is
    plan = make_plan(tmp_path / "plan", song)

    def change(name: str) -> None:
        if name == step:
            change_fields(song, ["Polka"], None)

    (outcome,) = apply(plan, on_step=change)
    if step == "announced":  # too late: the command holds no lock that other programs heed
        assert outcome.what == "written"
    else:
        assert outcome.reason == "Another program changed the file meanwhile."
        assert read_fields(song).genres == ("Polka",)


def test_undo_leaves_a_file_that_was_changed_since(folder: Path, tmp_path: Path) -> None:
    song, other = make_song("song.flac", folder), make_song("song.wav", folder)
    plan = make_plan(tmp_path / "plan", song, other)
    apply(plan)
    change_fields(song, ["Polka"], None)
    last, first = undone(plan)
    assert (last.what, first.what) == ("written", "left")
    assert "was changed since" in first.reason
    assert read_fields(song).genres == ("Polka",)
    assert read_fields(other).genres == ()


def rate(song: Path) -> bool:
    """Give it an attribute; returns whether its file system has any."""
    try:
        os.setxattr(song, "user.rating", b"5")
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return False
    return True


def test_mode_owner_times_and_attributes_stay(folder: Path, tmp_path: Path) -> None:
    song = make_song("song.flac", folder)
    song.chmod(0o640)
    os.utime(song, ns=(1_000_000_000_123_456_789, 900_000_000_987_654_321))
    has_rating = rate(song)
    if os.geteuid() == 0:
        os.chown(song, 12345, 23456)
    before = song.stat()
    apply(make_plan(tmp_path / "plan", song))
    after = song.stat()
    assert read_fields(song).genres == tuple(GENRES)
    for name in ("st_mode", "st_uid", "st_gid", "st_mtime_ns", "st_atime_ns"):
        assert name == "st_atime_ns" or getattr(after, name) == getattr(before, name), name
    if has_rating:
        assert os.getxattr(song, "user.rating") == b"5"


def test_with_a_new_time_media_servers_notice(folder: Path, tmp_path: Path) -> None:
    song = make_song("song.flac", folder)
    os.utime(song, ns=(0, 0))
    apply(make_plan(tmp_path / "plan", song), keeps_times=False)
    assert song.stat().st_mtime_ns > 0


def test_a_symbolic_link_stays_and_its_file_is_changed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    song = make_song("song.flac", tmp_path / "elsewhere")
    link = folder / "link.flac"
    link.symlink_to(song)
    plan = make_plan(tmp_path / "plan", link)
    assert [outcome.what for outcome in apply(plan)] == ["written"]
    assert link.is_symlink()
    assert not song.is_symlink()
    assert read_fields(song).genres == tuple(GENRES)
    undone(plan)
    assert read_fields(song).genres == ()


def test_a_file_with_two_names_is_left(folder: Path, tmp_path: Path) -> None:
    song = make_song("song.flac", folder)
    os.link(song, folder / "other.flac")
    (outcome,) = apply(make_plan(tmp_path / "plan", song))
    assert (outcome.what, "hard links" in outcome.reason) == ("left", True)
    assert read_fields(song).genres == ()


@pytest.mark.parametrize("kind", ["folder", "pipe", "nothing"])
def test_what_is_no_file_is_left_and_not_waited_for(kind: str, folder: Path, tmp_path: Path) -> None:
    song = make_song("song.flac", folder)
    plan = make_plan(tmp_path / "plan", song)
    song.unlink()
    if kind == "folder":
        song.mkdir()
    elif kind == "pipe":
        os.mkfifo(song)
    (outcome,) = apply(plan)
    assert (outcome.what, outcome.reason != "") == ("left", True)


def test_a_name_that_is_not_utf8_is_written_and_undone(folder: Path, tmp_path: Path) -> None:
    song = make_song("song.flac", folder).rename(folder / os.fsdecode(b"caf\xe9.flac"))
    plan = tmp_path / "plan"
    from ccmusic.tagging.plan import PlannedTrack, write_plan

    track = PlannedTrack(song, "write", genres=tuple(GENRES), payload=payload_hash(song))
    write_plan(plan, {}, [track])
    assert apply(plan) == [TagOutcome(song, "written")]
    assert undone(plan) == [TagOutcome(song, "written")]


def test_a_copy_with_other_sound_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(path: Path, *_: object) -> None:
        content = bytearray(path.read_bytes())
        content[-50] ^= 1
        path.write_bytes(content)
        change_fields(path, GENRES, None)

    monkeypatch.setattr("ccmusic.tagging.apply.change_fields", spoil)
    song = make_song("song.flac", folder)
    (outcome,) = apply(make_plan(tmp_path / "plan", song))
    assert outcome.reason == "The sound would change."
    assert names(folder) == ["song.flac"]


def test_a_copy_that_loses_another_field_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(path: Path, *_: object) -> None:
        import mutagen

        mutagen.File(path).delete()
        change_fields(path, GENRES, None)

    monkeypatch.setattr("ccmusic.tagging.apply.change_fields", spoil)
    (outcome,) = apply(make_plan(tmp_path / "plan", make_song("vorbis.ogg", folder)))
    assert outcome.reason == "Other fields of the tags would change."


def test_a_copy_without_what_was_written_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccmusic.tagging.apply.change_fields", lambda *_: None)
    (outcome,) = apply(make_plan(tmp_path / "plan", make_song("vorbis.ogg", folder)))
    assert "does not hold what was written" in outcome.reason


@pytest.mark.parametrize("found", [(Sound("flac", 44_100, 1), "Soul"), (Sound("flac", 44_100, 2), "Jazz"), None])
def test_a_copy_that_another_reader_reads_otherwise_is_refused(
    found: tuple[Sound, str] | None, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [(Sound("flac", 44_100, 2), None), found]
    monkeypatch.setattr(changes, "read_sound", lambda _: answers.pop(0))
    (outcome,) = apply(make_plan(tmp_path / "plan", make_song("song.flac", folder)))
    assert outcome.reason.startswith("Another reader")


def test_only_own_fields_are_written_where_the_genre_stays(folder: Path, tmp_path: Path) -> None:
    song = make_song("song.flac", folder)
    change_fields(song, ["Polka"], None)
    plan = make_plan(tmp_path / "plan", song, own=OWN)
    apply(plan)
    assert (read_fields(song).genres, read_fields(song).own) == (("Polka",), OWN)
    assert list(verify_plan(plan)) == [TagOutcome(song, "as planned")]
    undone(plan)
    assert (read_fields(song).genres, read_fields(song).own) == (("Polka",), {})


def test_a_disk_that_fails_costs_one_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    songs = [make_song("song.flac", folder), make_song("song.wav", folder)]
    plan = make_plan(tmp_path / "plan", *songs)

    def fail(path: Path) -> str:
        if path == songs[0]:
            raise CcmusicError("The file cannot be read to its end: Input/output error")
        return payload_hash(path)

    monkeypatch.setattr(changes, "payload_hash", fail)
    first, second = apply(plan)
    assert (first.what, second.what) == ("left", "written")
    assert "Input/output error" in first.reason
    assert read_fields(songs[0]).genres == ()


def test_a_plan_without_the_hash_of_the_sound_is_applied(folder: Path, tmp_path: Path) -> None:
    song = make_song("song.flac", folder)
    plan = tmp_path / "plan"
    lines = [{"plan": 1}, {"path": str(song), "action": "write", "genres_now": [], "genres": GENRES}]
    plan.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert apply(plan) == [TagOutcome(song, "written")]
    assert list(verify_plan(plan)) == [TagOutcome(song, "as planned")]


def test_a_line_that_keeps_a_file_changes_nothing(folder: Path, tmp_path: Path) -> None:
    song = make_song("song.flac", folder)
    plan = tmp_path / "plan"
    lines = [{"plan": 1}, {"path": str(song), "action": "keep", "reason": "has a genre"}]
    plan.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert apply(plan) == []
