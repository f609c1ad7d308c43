"""Every word that the page says, in English and in Chinese.

The browser picks the language: Gradio translates the labels there (``gr.I18n``), and what the server draws follows the
request's ``Accept-Language``, read the same way as Gradio reads ``navigator.language``, so that the two agree.
"""

from __future__ import annotations

from typing import Literal

from ccmusic.errors import CcmusicError

Language = Literal["en", "zh"]

TITLE = "CCMusic - 音乐流派分类系统"
"""The same in both languages: it is the product's name."""

# fmt: off
TEXTS: dict[Language, dict[str, str]] = {
    "en": {
        "description": "Upload audio: 16 genres such as classical, pop and rock are recognised automatically.",
        "tab.classify": "Recognise",
        "tab.status": "Service status",
        "clip": "Recording",
        "windows": "Listen to",
        "windows.whole": "The whole track",
        "windows.first30": "The first 30 seconds",
        "taxonomy": "Genres of",
        "taxonomy.ccmusic": "ccMusic (16, in 9 and 2 groups)",
        "taxonomy.world": "The world (16: blues, jazz, reggae ...)",
        "taxonomy.own": "This model's own",
        "run": "Recognise the genre",
        "examples": "No recording at hand? Try one of these:",
        "genre": "Genre",
        "empty": "### The answer appears here\n\nThe five likeliest genres, how they change along the track, "
                 "and the spectrogram that the model looks at.",
        "map.title": "Along the track",
        "map.spectrogram": "Constant-Q spectrogram, 7 octaves from C1; brighter is louder",
        "map.timeline": "Likeliest genre in each window",
        "map.table": "As a table",
        "map.from": "From",
        "map.to": "To",
        "map.genre": "Genre",
        "map.probability": "Probability",
        "map.seconds": "Time (min:s)",
        "why.title": "Why?",
        "why.lead": "Parts of a window are silenced one by one, and the model is asked again: what lowers its answer "
                    "most spoke for it.",
        "why.window": "Window, counted from 1; 0 takes the clearest one",
        "why.run": "Show why",
        "why.caption": "{stretch}, {probability}: brightest where the sound speaks for this genre",
        "levels.title": "Rolled up",
        "levels.all": "All {n} genres",
        "levels.2": "2 groups",
        "levels.9": "9 groups",
        "model.title": "Model",
        "model.answered": "Answered by {name}, version {version}",
        "model.hash": "SHA-256 of the model's files",
        "model.heard": "{seconds} of sound heard in {took} s",
        "sure": "The model is sure of the group only: {group} ({probability}), one of {n}. Finer genres are hints.",
        "flag.silence": "This recording is all but silent, so the answer means little. Check file and microphone.",
        "flag.too_short": "This recording is shorter than one window of the model; it was filled up to be heard. "
                          "A longer one gives a surer answer.",
        "flag.uncertain": "The model is unsure: no genre stands out. Take the list below as hints.",
        "flag.truncated": "Only a part of the recording was heard.",
        "odd.empty": "Hardly anything sounds here in the range of music, so the answer means little.",
        "odd.tone": "This sounds like a plain tone or a signal, not like music. The answer means little.",
        "odd.pulses": "This sounds like clicks, beeps or drums alone. The answer means little.",
        "odd.noise": "This sounds like noise, not like music. The answer means little.",
        "odd.speech": "This sounds like speech without music. The answer means little.",
        "notice.no_clip": "Choose or record a recording first, then press the button.",
        "notice.gone": "This recording is no longer kept here. Choose the file once more.",
        "notice.loading": "The model is still loading. The button works as soon as this notice is gone.",
        "notice.preparing": "The model is being made from its checkpoint, once. This takes some minutes.",
        "notice.caveat": "This works, but not with the model that the operator asked for.",
        "error.InvalidParameter": "A setting is not allowed.",
        "error.AudioError": "This recording cannot be used. Try another file.",
        "error.UploadTooLarge": "The file is too large. Send a shorter or a compressed recording.",
        "error.UnsupportedMedia": "This sound format is not understood here. Send WAV, FLAC, MP3, OGG or M4A.",
        "error.UndecodableAudio": "This file cannot be read as sound. Save or convert it again, or try another one.",
        "error.EmptyAudio": "There is no sound in this file. Choose another one, or record again.",
        "error.AudioTooLong": "The recording is too long. Cut out the part that matters and send that.",
        "error.ModelError": "The model cannot answer at the moment. Please tell whoever runs this service.",
        "error.ServiceError": "The service cannot take the recording now. Your file is fine; try again in a moment.",
        "error.ModelNotReady": "The model is still loading. Your file is fine; try again in a few seconds.",
        "error.ModelLoadFailed": "The model could not be loaded, so nothing can be recognised now. "
                                 "Please tell whoever runs this service.",
        "error.Overloaded": "Many people are using the service right now. Your file is fine; try again in {seconds} s.",
        "error.InferenceTimeout": "This took too long and was stopped. Try a shorter clip or the first 30 seconds.",
        "error.InsufficientStorage": "The service has no room for the file at the moment. Try again later.",
        "error.WorkerDied": "The process that heard this recording stopped and has been replaced. Try once more; "
                            "if it happens again, the file is likely broken.",
        "error.CcmusicError": "This did not work. Try again.",
        "error.unexpected": "Something went wrong inside the service. It has been written to the log; try again.",
        "detail": "In detail",
        "status.healthy": "Everything works",
        "status.degraded": "Works, with something to look at",
        "status.loading": "Starting: the model is loading",
        "status.unhealthy": "Something is wrong",
        "status.uptime": "Running for",
        "status.model_status": "Model state",
        "status.model_status.loading": "loading",
        "status.model_status.ready": "ready",
        "status.model_status.error": "failed",
        "status.model": "Model",
        "status.workers": "Workers",
        "status.worker.starting": "starting",
        "status.worker.idle": "idle",
        "status.worker.busy": "busy",
        "status.worker.testing": "self-test",
        "status.worker.failed": "failed",
        "status.worker.retiring": "ending",
        "status.worker.process": "process {pid}",
        "status.worker.jobs": "jobs: {jobs}",
        "status.worker.restarts": "restarts: {restarts}",
        "status.self_test": "Last self-test",
        "status.self_test.ok": "passed, {age} ago",
        "status.self_test.failed": "failed, {age} ago",
        "status.drift": "Recordings",
        "status.drift.usual": "as in the model's training, so far as {recordings} of them tell",
        "status.drift.mix": "{genre} makes up {mean} of the last {recordings}, {expected} are expected",
        "status.drift.confidence": "the model's confidence is {change} than expected over the last {recordings}",
        "status.drift.level": "their loudness is {change} than expected over the last {recordings}",
        "status.drift.bandwidth": "their bandwidth is {change} than expected over the last {recordings}",
        "status.drift.change.more": "higher",
        "status.drift.change.less": "lower",
        "status.drift.change.wider": "more spread",
        "status.drift.change.narrower": "less spread",
        "status.none": "none yet",
        "status.refreshed": "Refreshes by itself every {seconds} seconds while this tab is open.",
        "time.days": "{days} d {hours} h",
        "time.hours": "{hours} h {minutes} min",
        "time.minutes": "{minutes} min {seconds} s",
        "time.seconds": "{seconds} s",
        "footer": "[API documentation](docs) · [Health](health)\n\n"
                  "Recordings are deleted within about an hour and are never passed on.\n\n"
                  "Taxonomy of 16 genres: the public ccMusic dataset (music_genre). "
                  "CCMusic is free software, MIT licence.",
    },
    "zh": {
        "description": "上传音频,自动识别古典、流行、摇滚等 16 种音乐流派。",
        "tab.classify": "识别",
        "tab.status": "服务状态",
        "clip": "音频",
        "windows": "识别范围",
        "windows.whole": "整首曲目",
        "windows.first30": "前 30 秒",
        "taxonomy": "流派体系",
        "taxonomy.ccmusic": "ccMusic(16 类,可归为 9 类和 2 大类)",
        "taxonomy.world": "世界流派(16 类:蓝调、爵士、雷鬼等)",
        "taxonomy.own": "此模型自带的流派",
        "run": "识别流派",
        "examples": "手边没有音频?试试这些示例:",
        "genre": "流派",
        "empty": "### 结果会显示在这里\n\n最可能的五个流派、流派随时间的变化,以及模型所看到的频谱图。",
        "map.title": "随时间的变化",
        "map.spectrogram": "常数 Q 频谱图,从 C1 起共 7 个八度;越亮表示越响",
        "map.timeline": "各窗口最可能的流派",
        "map.table": "以表格显示",
        "map.from": "开始",
        "map.to": "结束",
        "map.genre": "流派",
        "map.probability": "概率",
        "map.seconds": "时间(分:秒)",
        "why.title": "为什么?",
        "why.lead": "逐一静音窗口的各个部分并重新询问模型:使结果下降最多的部分,就是支持该结果的部分。",
        "why.window": "窗口(从 1 数起;0 表示最明显的一个)",
        "why.run": "显示原因",
        "why.caption": "{stretch},{probability}:越亮之处越支持该流派",
        "levels.title": "分级汇总",
        "levels.all": "全部 {n} 个流派",
        "levels.2": "2 大类",
        "levels.9": "9 类",
        "model.title": "模型",
        "model.answered": "由 {name} 给出,版本 {version}",
        "model.hash": "模型文件的 SHA-256",
        "model.heard": "听了 {seconds} 的声音,用时 {took} 秒",
        "sure": "模型只确定所属大类:{group}({probability},共 {n} 类)。具体流派仅供参考。",
        "flag.silence": "这段录音几乎没有声音,结果没有参考意义。请检查文件或麦克风。",
        "flag.too_short": "这段录音比模型的一个窗口还短,已补足后再识别。较长的录音结果更可靠。",
        "flag.uncertain": "模型不太确定:没有哪个流派特别突出。以下结果仅供参考。",
        "flag.truncated": "只听取了录音的一部分。",
        "odd.empty": "在音乐的频率范围内几乎没有声音,结果没有参考意义。",
        "odd.tone": "这听起来像单一音调或信号音,不像音乐。结果没有参考意义。",
        "odd.pulses": "这听起来只有敲击声、提示音或鼓点。结果没有参考意义。",
        "odd.noise": "这听起来像噪声,不像音乐。结果没有参考意义。",
        "odd.speech": "这听起来像没有音乐的说话声。结果没有参考意义。",
        "notice.no_clip": "请先选择或录制一段音频,再点击按钮。",
        "notice.gone": "这段录音已不在服务器上,请重新选择文件。",
        "notice.loading": "模型正在加载。页面已就绪,此提示消失后即可开始识别。",
        "notice.preparing": "正在从检查点生成模型,只需一次,约需几分钟。",
        "notice.caveat": "服务可用,但当前模型并非管理员指定的模型。",
        "error.InvalidParameter": "有一项设置不被允许。",
        "error.AudioError": "无法使用这段录音,请换一个文件。",
        "error.UploadTooLarge": "文件太大。请上传较短或压缩过的录音。",
        "error.UnsupportedMedia": "无法识别这种音频格式。请上传 WAV、FLAC、MP3、OGG、M4A 等格式的文件。",
        "error.UndecodableAudio": "无法将此文件作为音频读取,可能已损坏。请重新保存或转换,或换一个文件。",
        "error.EmptyAudio": "文件里没有声音。请换一个文件,或重新录制。",
        "error.AudioTooLong": "录音太长。请截取需要的部分再上传。",
        "error.ModelError": "模型暂时无法给出结果,请联系服务的管理者。",
        "error.ServiceError": "服务暂时无法处理。您的文件没有问题,请稍后再试。",
        "error.ModelNotReady": "模型正在加载。您的文件没有问题,请几秒后再试。",
        "error.ModelLoadFailed": "模型加载失败,目前无法识别。请联系服务的管理者。",
        "error.Overloaded": "当前使用的人较多。您的文件没有问题,请在 {seconds} 秒后再试。",
        "error.InferenceTimeout": "处理时间过长,已停止。请换较短的录音,或只识别前 30 秒。",
        "error.InsufficientStorage": "服务暂时没有空间存放文件,请稍后再试。",
        "error.WorkerDied": "处理这段录音的进程意外退出,已被替换。请再试一次;若再次发生,文件可能已损坏。",
        "error.CcmusicError": "未能完成,请再试一次。",
        "error.unexpected": "服务内部出现错误,已写入日志,请再试一次。",
        "detail": "详细信息",
        "status.healthy": "一切正常",
        "status.degraded": "可以使用,但有需要留意之处",
        "status.loading": "正在启动:模型加载中",
        "status.unhealthy": "出现问题",
        "status.uptime": "已运行",
        "status.model_status": "模型状态",
        "status.model_status.loading": "加载中",
        "status.model_status.ready": "就绪",
        "status.model_status.error": "失败",
        "status.model": "模型",
        "status.workers": "工作进程",
        "status.worker.starting": "启动中",
        "status.worker.idle": "空闲",
        "status.worker.busy": "工作中",
        "status.worker.testing": "自检中",
        "status.worker.failed": "失败",
        "status.worker.retiring": "退出中",
        "status.worker.process": "进程 {pid}",
        "status.worker.jobs": "任务数 {jobs}",
        "status.worker.restarts": "重启 {restarts} 次",
        "status.self_test": "最近一次自检",
        "status.self_test.ok": "{age}前通过",
        "status.self_test.failed": "{age}前失败",
        "status.drift": "录音",
        "status.drift.usual": "就已识别的 {recordings} 段而言,与模型训练时相符",
        "status.drift.mix": "最近 {recordings} 段中{genre}占 {mean},预期为 {expected}",
        "status.drift.confidence": "最近 {recordings} 段的模型置信度比预期{change}",
        "status.drift.level": "最近 {recordings} 段的响度比预期{change}",
        "status.drift.bandwidth": "最近 {recordings} 段的频带宽度比预期{change}",
        "status.drift.change.more": "高",
        "status.drift.change.less": "低",
        "status.drift.change.wider": "分散",
        "status.drift.change.narrower": "集中",
        "status.none": "暂无",
        "status.refreshed": "打开此标签页时,每 {seconds} 秒自动刷新。",
        "time.days": "{days} 天 {hours} 小时",
        "time.hours": "{hours} 小时 {minutes} 分",
        "time.minutes": "{minutes} 分 {seconds} 秒",
        "time.seconds": "{seconds} 秒",
        "footer": "[API 文档](docs) · [健康状态](health)\n\n"
                  "录音约一小时内删除,不会转交他人。\n\n"
                  "16 类流派体系来自公开数据集 ccMusic(music_genre)。CCMusic 是自由软件,采用 MIT 许可证。",
    },
}
# fmt: on


def language_of(accept_language: str | None) -> Language:
    """Read the language from a request's ``Accept-Language``.

    Only the first entry counts, as it does in the browser: a list such as ``fr, zh`` gives English labels there, and
    what the server draws must not be Chinese in between.

    Parameters
    ----------
    accept_language : str or None
        The header's value, for example ``zh-CN,zh;q=0.9,en;q=0.8``.

    Returns
    -------
    str
        ``zh`` or ``en``.
    """
    first = (accept_language or "").split(",", 1)[0].split(";", 1)[0].strip().lower()
    return "zh" if first == "zh" or first.startswith("zh-") else "en"


def text(key: str, language: Language, **values: object) -> str:
    """One text, with its ``{fields}`` filled in."""
    return TEXTS[language][key].format(**values)


def error_text(error: Exception, language: Language) -> str:
    """What to tell a person about an error, and what to do next.

    The text belongs to the error's class, or to the nearest class above it that has one.
    """
    if not isinstance(error, CcmusicError):
        return text("error.unexpected", language)
    seconds = max(1, round(getattr(error, "retry_after_seconds", 1.0)))
    keys = (f"error.{parent.__name__}" for parent in type(error).__mro__)
    return text(next(key for key in keys if key in TEXTS[language]), language, seconds=seconds)


def duration_text(seconds: float, language: Language) -> str:
    """A duration in words, in the two largest units that apply."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    unit = "days" if days else "hours" if hours else "minutes" if minutes else "seconds"
    return text(f"time.{unit}", language, days=days, hours=hours, minutes=minutes, seconds=rest)


def clock(seconds: float) -> str:
    """A place in a recording: ``m:ss``, or ``h:mm:ss`` from an hour on."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
