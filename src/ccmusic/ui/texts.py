"""Every text of the page, in English and in Chinese.

The browser chooses the language: Gradio translates the labels there (``gr.I18n``). HTML that the server makes follows
the request's ``Accept-Language``, read in the same way as Gradio reads ``navigator.language``, so the two agree.
"""

from __future__ import annotations

from typing import Literal

from ccmusic.errors import CcmusicError

Language = Literal["en", "zh"]

TITLE = "CCMusic - 音乐流派分类系统"
"""The name of the product, the same in both languages."""

# fmt: off
TEXTS: dict[Language, dict[str, str]] = {
    "en": {
        "description": "Upload audio: 16 genres such as classical, pop and rock are recognised automatically.",
        "description.own": "Upload audio: the {n} genres of this model are recognised automatically.",
        "tab.classify": "Recognise",
        "tab.status": "Service status",
        "clip": "Recording",
        "windows": "Analyse",
        "windows.whole": "The whole track",
        "windows.first30": "The first 30 seconds",
        "taxonomy": "Genre set",
        "taxonomy.ccmusic": "ccMusic (16 genres, in 9 and 2 groups)",
        "taxonomy.world": "World (16 genres: blues, jazz, reggae, ...)",
        "taxonomy.own": "The model's own genres",
        "run": "Recognise the genre",
        "examples": "No recording? Try an example:",
        "genre": "Genre",
        "guesses": "Guesses",
        "headline.genre": "Probability {probability}",
        "headline.group": "The model is certain only of this group: {probability}, one of {n} groups. "
                          "The genres below are guesses.",
        "headline.uncertain": "No certain genre",
        "headline.odd": "Probably not music",
        "headline.silence": "Almost silent",
        "headline.guesses": "The genres below are guesses.",
        "empty": "### The result appears here\n\nThe likeliest genres, how they change over time, "
                 "and the spectrogram of the recording.",
        "map.title": "Over time",
        "map.spectrogram": "Constant-Q spectrogram, 7 octaves from C1; brighter is louder",
        "map.timeline": "Likeliest genre in each window",
        "map.table": "Show as a table",
        "map.from": "From",
        "map.to": "To",
        "map.genre": "Genre",
        "map.probability": "Probability",
        "map.seconds": "Time (min:s)",
        "explain.title": "Why this genre?",
        "explain.lead": "Each part of a window is silenced in turn, and the window is classified again. The more the "
                        "probability drops, the more that part supports the genre.",
        "explain.window": "Window number, from 1; 0 selects the window with the highest probability",
        "explain.run": "Explain",
        "explain.caption": "{stretch}, probability {probability}. Brighter parts support this genre more.",
        "levels.title": "Genre groups",
        "levels.all": "All {n} genres",
        "levels.2": "2 groups",
        "levels.9": "9 groups",
        "model.answered": "Model: {name}, version {version}",
        "model.hash": "SHA-256 of the model: {sha256}",
        "model.analysed": "{seconds} of audio analysed in {took} s",
        "flag.silence": "This recording is almost silent, so the result means little. "
                        "Check the file or the microphone.",
        "flag.too_short": "This recording is shorter than one window of the model, so it was padded. "
                          "A longer recording gives a more reliable result.",
        "flag.uncertain": "The model is uncertain: no genre stands out. Treat the result as a hint.",
        "flag.truncated": "Only part of the recording was analysed.",
        "flag.out_of_phase": "The channels of this recording cancel each other: one is inverted. "
                             "It was turned back before the channels were mixed, so the music is heard.",
        "odd.empty": "There is almost no sound in the frequency range of music, so the result means little.",
        "odd.tone": "This sounds like a plain tone or a signal, not like music, so the result means little.",
        "odd.pulses": "This sounds like clicks, beeps or drums only, so the result means little.",
        "odd.noise": "This sounds like noise, not like music, so the result means little.",
        "odd.speech": "This sounds like speech without music, so the result means little.",
        "notice.no_clip": "Choose or record audio first, then press the button.",
        "notice.gone": "The server no longer has this recording. Choose the file again.",
        "notice.loading": "The model is still loading. You can start when this notice disappears.",
        "notice.preparing": "The model is being converted from its checkpoint. "
                            "This happens only once and takes a few minutes.",
        "notice.caveat": "The service works, but not with the model that its operator chose.",
        "error.InvalidParameter": "An option has an invalid value.",
        "error.AudioError": "This recording cannot be used. Try another file.",
        "error.UploadTooLarge": "The file is too large. Upload a shorter or a compressed recording.",
        "error.UnsupportedMedia": "This audio format is not supported. Upload WAV, FLAC, MP3, OGG or M4A.",
        "error.UndecodableAudio": "This audio file cannot be decoded; it may be damaged. "
                                  "Save or convert it again, or try another file.",
        "error.EmptyAudio": "This file contains no sound. Choose another file, or record again.",
        "error.AudioTooLong": "The recording is too long. Cut out the part that you need and upload that.",
        "error.ModelError": "The model cannot give a result at the moment. Please tell the operator of this service.",
        "error.ServiceError": "The service cannot process the recording now. Your file is fine; try again soon.",
        "error.ModelNotReady": "The model is still loading. Your file is fine; try again in a few seconds.",
        "error.ModelFileNotFound": "The model file is missing, so recognition is not available. "
                                   "Please tell the operator of this service.",
        "error.ModelLoadFailed": "The model could not be loaded, so recognition is not available. "
                                 "Please tell the operator of this service.",
        "error.Overloaded": "The service is busy. Your file is fine; try again in {seconds} s.",
        "error.TooManyRequests": "Your address has sent too many recordings, or files that stop processes of the "
                                 "service. Try again in {seconds} s.",
        "error.InferenceTimeout": "Processing took too long and was stopped. "
                                  "Try a shorter recording, or only the first 30 seconds.",
        "error.InsufficientStorage": "The server has no space for the file at the moment. Try again later.",
        "error.WorkerDied": "The process that analysed this recording ended unexpectedly and has been replaced. "
                            "Try again; if it happens again, the file is probably damaged.",
        "error.CcmusicError": "The recording could not be processed. Please try again.",
        "error.unexpected": "An internal error occurred and was logged. Please try again.",
        "detail": "Details",
        "status.healthy": "Everything works",
        "status.degraded": "Working, with warnings",
        "status.loading": "Starting: the model is loading",
        "status.unhealthy": "Something is wrong",
        "status.uptime": "Running for",
        "status.model_status": "Model state",
        "status.model_status.loading": "loading",
        "status.model_status.ready": "ready",
        "status.model_status.error": "failed",
        "status.model": "Model",
        "status.workers": "Worker processes",
        "status.worker": "{number}: {facts}",
        "status.worker.starting": "starting",
        "status.worker.idle": "idle",
        "status.worker.busy": "busy",
        "status.worker.testing": "self-test",
        "status.worker.failed": "failed",
        "status.worker.retiring": "stopping",
        "status.worker.process": "process {pid}",
        "status.worker.jobs": "jobs: {jobs}",
        "status.worker.restarts": "restarts: {restarts}",
        "status.self_test": "Last self-test",
        "status.self_test.ok": "passed, {age} ago",
        "status.self_test.failed": "failed, {age} ago",
        "status.drift": "Recordings",
        "status.drift.usual": "similar to the training data ({recordings} recordings so far)",
        "status.drift.mix": "{genre} has a share of {mean} in the last {recordings} recordings; expected: {expected}",
        "status.drift.confidence": "the model's confidence is {change} than expected in the last {recordings} "
                                   "recordings",
        "status.drift.level": "the loudness is {change} than expected in the last {recordings} recordings",
        "status.drift.bandwidth": "the bandwidth is {change} than expected in the last {recordings} recordings",
        "status.drift.change.more": "higher",
        "status.drift.change.less": "lower",
        "status.drift.change.wider": "more varied",
        "status.drift.change.narrower": "less varied",
        "status.none": "none yet",
        "status.refreshed": "Refreshes every {seconds} seconds while this tab is open.",
        "comma": ", ",
        "time.days": "{days} d {hours} h",
        "time.hours": "{hours} h {minutes} min",
        "time.minutes": "{minutes} min {seconds} s",
        "time.seconds": "{seconds} s",
        "footer": "[API documentation](docs) · [Health](health)\n\n"
                  "Uploaded recordings are deleted after about an hour and are never shared.\n\n"
                  "The 16 genres are those of the public ccMusic dataset (music_genre). "
                  "CCMusic is open-source software under the MIT licence.",
        "footer.own": "[API documentation](docs) · [Health](health)\n\n"
                      "Uploaded recordings are deleted after about an hour and are never shared.\n\n"
                      "The genres are those of the model that the operator of this service chose. "
                      "CCMusic is open-source software under the MIT licence.",
    },
    "zh": {
        "description": "上传音频，自动识别古典、流行、摇滚等 16 种音乐流派。",
        "description.own": "上传音频，自动识别本模型的 {n} 种流派。",
        "tab.classify": "识别",
        "tab.status": "服务状态",
        "clip": "音频",
        "windows": "识别范围",
        "windows.whole": "整首曲目",
        "windows.first30": "前 30 秒",
        "taxonomy": "流派体系",
        "taxonomy.ccmusic": "ccMusic（16 种流派，可归为 9 类和 2 大类）",
        "taxonomy.world": "世界流派（16 种，如蓝调、爵士、雷鬼）",
        "taxonomy.own": "模型自带的流派",
        "run": "识别流派",
        "examples": "没有音频？试试这些示例：",
        "genre": "流派",
        "guesses": "可能的流派",
        "headline.genre": "概率 {probability}",
        "headline.group": "模型只能确定所属类别：概率 {probability}，共 {n} 类。以下具体流派仅供参考。",
        "headline.uncertain": "无法确定流派",
        "headline.odd": "可能不是音乐",
        "headline.silence": "几乎没有声音",
        "headline.guesses": "以下流派仅供参考。",
        "empty": "### 结果将显示在这里\n\n包括最可能的流派、流派随时间的变化，以及音频的频谱图。",
        "map.title": "随时间的变化",
        "map.spectrogram": "常数 Q 频谱图，从 C1 起共 7 个八度，越亮表示声音越响",
        "map.timeline": "各片段最可能的流派",
        "map.table": "以表格查看",
        "map.from": "开始",
        "map.to": "结束",
        "map.genre": "流派",
        "map.probability": "概率",
        "map.seconds": "时间（分：秒）",
        "explain.title": "判断依据",
        "explain.lead": "依次将片段的各个部分静音，再重新识别。静音后概率下降越多，说明这部分越支持该流派。",
        "explain.window": "片段序号（从 1 开始；0 表示概率最高的片段）",
        "explain.run": "查看依据",
        "explain.caption": "{stretch}，概率 {probability}。越亮的部分越支持该流派。",
        "levels.title": "流派大类",
        "levels.all": "全部 {n} 种流派",
        "levels.2": "2 大类",
        "levels.9": "9 类",
        "model.answered": "模型：{name}，版本 {version}",
        "model.hash": "模型的 SHA-256：{sha256}",
        "model.analysed": "时长 {seconds}，用时 {took} 秒",
        "flag.silence": "这段音频几乎没有声音，结果没有参考意义。请检查文件或麦克风。",
        "flag.too_short": "这段音频太短，不足一个片段，补足长度后才进行了识别。音频较长时，结果更可靠。",
        "flag.uncertain": "模型不太确定：没有哪种流派明显突出，结果仅供参考。",
        "flag.truncated": "只分析了音频的一部分。",
        "flag.out_of_phase": "这段音频的声道互相抵消：其中一个声道的相位相反。混合前已将其反转，因此音乐没有丢失。",
        "odd.empty": "音乐的频率范围内几乎没有声音，结果没有参考意义。",
        "odd.tone": "这段音频听起来像单一的音调或信号音，不像音乐，结果没有参考意义。",
        "odd.pulses": "这段音频听起来只有咔嗒声、提示音或鼓点，结果没有参考意义。",
        "odd.noise": "这段音频听起来像噪声，不像音乐，结果没有参考意义。",
        "odd.speech": "这段音频听起来只有说话声，没有音乐，结果没有参考意义。",
        "notice.no_clip": "请先上传或录制一段音频，再点击按钮。",
        "notice.gone": "服务器上已没有这段音频，请重新选择文件。",
        "notice.loading": "模型正在加载，此提示消失后即可开始识别。",
        "notice.preparing": "正在由检查点文件转换模型，只需转换一次，大约几分钟。",
        "notice.caveat": "服务可用，但当前使用的不是管理员指定的模型。",
        "error.InvalidParameter": "有选项的值无效。",
        "error.AudioError": "无法使用这段音频，请换一个文件。",
        "error.UploadTooLarge": "文件太大，请上传较短或经过压缩的音频。",
        "error.UnsupportedMedia": "不支持这种音频格式，请上传 WAV、FLAC、MP3、OGG 或 M4A 文件。",
        "error.UndecodableAudio": "无法解码这个音频文件，它可能已损坏。请重新导出或转换格式，或换一个文件。",
        "error.EmptyAudio": "文件中没有声音。请换一个文件，或重新录制。",
        "error.AudioTooLong": "音频太长，请截取需要的部分后再上传。",
        "error.ModelError": "模型暂时无法给出结果，请联系服务管理员。",
        "error.ServiceError": "服务暂时无法处理。您的文件没有问题，请稍后重试。",
        "error.ModelNotReady": "模型正在加载。您的文件没有问题，请过几秒再试。",
        "error.ModelFileNotFound": "找不到模型文件，目前无法识别，请联系服务管理员。",
        "error.ModelLoadFailed": "模型加载失败，目前无法识别，请联系服务管理员。",
        "error.Overloaded": "服务繁忙。您的文件没有问题，请在 {seconds} 秒后重试。",
        "error.TooManyRequests": "您的地址发送的音频过多，或其中有文件使处理进程退出。请在 {seconds} 秒后重试。",
        "error.InferenceTimeout": "处理时间过长，已停止。请换一段较短的音频，或只识别前 30 秒。",
        "error.InsufficientStorage": "服务器存储空间不足，暂时无法接收文件，请稍后重试。",
        "error.WorkerDied": "处理这段音频的进程意外退出，现已由新进程代替。请重试；如果再次出现，文件可能已损坏。",
        "error.CcmusicError": "处理失败，请重试。",
        "error.unexpected": "服务内部出错，已记入日志，请重试。",
        "detail": "详细信息",
        "status.healthy": "运行正常",
        "status.degraded": "可以使用，但有警告",
        "status.loading": "正在启动：模型加载中",
        "status.unhealthy": "出现故障",
        "status.uptime": "已运行",
        "status.model_status": "模型状态",
        "status.model_status.loading": "加载中",
        "status.model_status.ready": "就绪",
        "status.model_status.error": "失败",
        "status.model": "模型",
        "status.workers": "工作进程",
        "status.worker": "{number}：{facts}",
        "status.worker.starting": "启动中",
        "status.worker.idle": "空闲",
        "status.worker.busy": "处理中",
        "status.worker.testing": "自检中",
        "status.worker.failed": "失败",
        "status.worker.retiring": "退出中",
        "status.worker.process": "进程 {pid}",
        "status.worker.jobs": "任务 {jobs} 个",
        "status.worker.restarts": "重启 {restarts} 次",
        "status.self_test": "最近一次自检",
        "status.self_test.ok": "{age}前通过",
        "status.self_test.failed": "{age}前失败",
        "status.drift": "音频特征",
        "status.drift.usual": "与训练数据相近（已统计 {recordings} 段）",
        "status.drift.mix": "最近 {recordings} 段音频中，{genre}占 {mean}，预期为 {expected}",
        "status.drift.confidence": "最近 {recordings} 段音频的模型置信度比预期{change}",
        "status.drift.level": "最近 {recordings} 段音频的响度比预期{change}",
        "status.drift.bandwidth": "最近 {recordings} 段音频的带宽比预期{change}",
        "status.drift.change.more": "高",
        "status.drift.change.less": "低",
        "status.drift.change.wider": "更分散",
        "status.drift.change.narrower": "更集中",
        "status.none": "暂无",
        "status.refreshed": "打开此标签页时，每 {seconds} 秒自动刷新。",
        "comma": "，",
        "time.days": "{days} 天 {hours} 小时",
        "time.hours": "{hours} 小时 {minutes} 分",
        "time.minutes": "{minutes} 分 {seconds} 秒",
        "time.seconds": "{seconds} 秒",
        "footer": "[API 文档](docs) · [健康状态](health)\n\n"
                  "上传的音频会在约一小时后删除，不会提供给任何第三方。\n\n"
                  "16 种流派来自公开数据集 ccMusic（music_genre）。CCMusic 是开源软件，采用 MIT 许可证。",
        "footer.own": "[API 文档](docs) · [健康状态](health)\n\n"
                      "上传的音频会在约一小时后删除，不会提供给任何第三方。\n\n"
                      "流派由服务管理员指定的模型决定。CCMusic 是开源软件，采用 MIT 许可证。",
    },
}
# fmt: on


def language_of(accept_language: str | None) -> Language:
    """Read the language from a request's ``Accept-Language``.

    Only the first entry counts, as in the browser. With ``fr, zh`` the browser shows English labels, so the HTML of
    the server must be English, too.

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
    """The text for a key, with its ``{fields}`` filled in."""
    return TEXTS[language][key].format(**values)


def error_text(error: Exception, language: Language) -> str:
    """What happened, and what the reader can do next.

    The text is that of the error's class, or of its nearest base class that has one.
    """
    if not isinstance(error, CcmusicError):
        return text("error.unexpected", language)
    seconds = max(1, round(getattr(error, "retry_after_seconds", 1.0)))
    keys = (f"error.{parent.__name__}" for parent in type(error).__mro__)
    return text(next(key for key in keys if key in TEXTS[language]), language, seconds=seconds)


def duration_text(seconds: float, language: Language) -> str:
    """A duration in its two largest units, for example ``2 h 5 min``."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    unit = "days" if days else "hours" if hours else "minutes" if minutes else "seconds"
    return text(f"time.{unit}", language, days=days, hours=hours, minutes=minutes, seconds=rest)


def clock(seconds: float) -> str:
    """A position in a recording: ``m:ss``, or ``h:mm:ss`` from one hour."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
