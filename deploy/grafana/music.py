"""Dashboard "CCMusic: music": requests and answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from panels import Line, colors, dashboard, graph, heatmap, limit, line, query, shares, stat, thresholds, wide
from queries import GENRES, JOB, SERVICE_FAILURES, quantile, rate

PER_MINUTE = 60
SERVICE_FAILURES_ONLY = f'reason=~"{SERVICE_FAILURES}"'
THEIRS_ONLY = f'reason!~"{SERVICE_FAILURES}"'


def _answers() -> Iterator[Line]:
    yield "答案 Answers"
    yield line(
        4,
        stat(
            "录音 Recordings",
            query(f"sum(increase(ccmusic_classifications_total{{{JOB}}}[$__range]))", instant=True),
            unit="locale",
            decimals=0,
        ),
        stat(
            "音频 Audio",
            query(f"sum(increase(ccmusic_audio_seconds_total{{{JOB}}}[$__range]))", instant=True),
            unit="s",
            description=("所选时间内识别的音频总长。", "Audio analysed in the selected time."),
        ),
        stat(
            "存疑 Uncertain",
            query(
                f'sum(increase(ccmusic_flags_total{{{JOB},flag="uncertain"}}[$__range]))'
                f" / sum(increase(ccmusic_classifications_total{{{JOB}}}[$__range]))",
                instant=True,
            ),
            unit="percentunit",
            decimals=0,
            description=("被标为 uncertain（存疑）的答案比例。", "Share of the answers with the flag uncertain."),
        ),
        stat(
            "未回答 Not answered",
            query(f"sum(increase(ccmusic_failures_total{{{JOB}}}[$__range]))", instant=True),
            unit="locale",
            decimals=0,
        ),
        stat(
            "漂移证据 Evidence of drift",
            query(f"max(ccmusic_drift_statistic{{{JOB}}})", instant=True),
            decimals=2,
            limits=thresholds("green", (1, "orange")),
            description=(
                "录音与模型卡参考不同的证据（对数尺度，达到 1 即告警）。",
                "Evidence, on a logarithmic scale, that the recordings differ from those of the model card's "
                "reference; warned of from 1.",
            ),
            runbooks=["CcmusicDrift"],
        ),
    )
    yield line(
        11,
        graph(
            "流派 Genres",
            query(f"sum by (genre) ({rate('ccmusic_predictions_total')}) * {PER_MINUTE}", "{{genre}}"),
            unit="cpm",
            stacked=True,
            named=GENRES,
            legend="right",
            description=("每分钟的答案。", "Answers per minute."),
        ),
        wide(
            shares(
                "流派占比 Share of genres",
                query(
                    f"sort_desc(sum by (genre) (increase(ccmusic_predictions_total{{{JOB}}}[$__range])) / "
                    f"scalar(sum(increase(ccmusic_predictions_total{{{JOB}}}[$__range]))))",
                    "{{genre}}",
                    instant=True,
                ),
                named=GENRES,
                description=("所选时间内。", "In the selected time."),
            ),
            9,
        ),
    )


def _trust() -> Iterator[Line]:
    yield "可信度 Confidence"
    yield line(
        8,
        heatmap(
            "置信度 Confidence",
            query(
                f"sum by (le) (increase(ccmusic_prediction_confidence_bucket{{{JOB}}}[$__rate_interval]))",
                "{{le}}",
                form="heatmap",
            ),
            unit="percentunit",
            description=("首位流派的概率。", "Probability of the likeliest genre."),
        ),
        graph(
            "置信度分位数 Confidence, quantiles",
            *(query(quantile(q, "ccmusic_prediction_confidence"), f"p{100 * q:.0f}") for q in (0.9, 0.5, 0.1)),
            unit="percentunit",
            maximum=1,
        ),
        graph(
            "标记 Flags",
            query(
                f"sum by (flag) ({rate('ccmusic_flags_total')}) / "
                f"scalar(sum({rate('ccmusic_classifications_total')}) > 0)",
                "{{flag}}",
            ),
            unit="percentunit",
            named=colors(
                uncertain="orange", too_short="yellow", silence="blue", truncated="purple", out_of_phase="red"
            ),
            description=(
                "带标记的答案比例；一个答案可有多个标记。",
                "Share of the answers with a flag; an answer may have several.",
            ),
        ),
    )
    yield line(
        8,
        graph(
            "漂移 Drift",
            query(f"max by (kind) (ccmusic_drift_statistic{{{JOB}}})", "{{kind}}"),
            limit("drift_statistic"),
            decimals=2,
            unit="none",
            runbooks=["CcmusicDrift"],
        ),
        graph(
            "未回答：客户端 Not answered: client errors",
            query(
                f"sum by (reason) ({rate('ccmusic_failures_total', THEIRS_ONLY)}) * {PER_MINUTE}",
                "{{reason}}",
            ),
            unit="cpm",
            stacked=True,
            description=(
                "文件或参数有误，或客户端已断开连接。",
                "An invalid file or parameter, or the client has disconnected.",
            ),
        ),
        graph(
            "未回答：服务端 Not answered: service errors",
            query(
                f"sum by (reason) ({rate('ccmusic_failures_total', SERVICE_FAILURES_ONLY)}) * {PER_MINUTE}",
                "{{reason}}",
            ),
            unit="cpm",
            stacked=True,
            runbooks=["CcmusicOverloaded", "CcmusicErrorBudgetFastBurn"],
        ),
        graph(
            "音频量 Audio",
            query(f"sum({rate('ccmusic_audio_seconds_total')}) * 24", "按当前速度 at the current rate"),
            query(f"sum(increase(ccmusic_audio_seconds_total{{{JOB}}}[1d])) / 3600", "过去 24 小时 last 24 hours"),
            unit="h",
            description=("每天识别的音频小时数。", "Hours of audio per day."),
        ),
    )


def music() -> dict[str, Any]:
    """The dashboard."""
    return dashboard(
        "ccmusic-music",
        "CCMusic: music",
        "收到什么音乐，给出什么答案。Which music is received, and what is answered.",
        _answers(),
        _trust(),
    )
