"""Dashboard "CCMusic: SLO": the objective and its error budget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from panels import Line, colors, dashboard, graph, limit, line, query, stat, states, thresholds
from queries import OBJECTIVE, YES_OR_NO

WINDOWS = ("5m", "30m", "1h", "6h", "1d", "3d")
BLUES = ("#c7dbf5", "#a3c4ee", "#7aa9e3", "#5089d3", "#2f69b8", "#174a8c")
"""A longer window has a darker colour."""
REACHED = thresholds("red", (OBJECTIVE, "green"))
MONTH = (
    "sum(sum_over_time(ccmusic:failures:increase5m[30d])) / sum(sum_over_time(ccmusic:recordings:increase5m[30d]) > 0)"
)


def _now() -> Iterator[Line]:
    yield "目标 Objective"
    yield line(
        5,
        *(
            stat(
                f"可用率 Availability {window}",
                query(f"ccmusic:availability:{window}", instant=True),
                unit="percentunit",
                decimals=2,
                limits=REACHED,
                description=("成功探测的比例。", "Share of successful probes."),
                runbooks=["CcmusicProbeFails"],
            )
            for window in ("1h", "1d", "30d")
        ),
        stat(
            "错误率 Error ratio 30d",
            query(f"{MONTH} or vector(0)", instant=True),
            unit="percentunit",
            decimals=3,
            limits=thresholds("green", (1 - OBJECTIVE, "red")),
            description=(
                "因服务自身原因未得到回答的录音比例；目标低于 0.5 %。",
                "Share of the recordings that were not answered because of the service; the objective is below 0.5 %.",
            ),
        ),
        stat(
            "剩余预算 Budget left 30d",
            query(f'1 - ({MONTH} or vector(0)) / scalar(ccmusic:limit{{of="error_budget"}})', instant=True),
            unit="percentunit",
            decimals=0,
            limits=thresholds("red", (0, "orange"), (0.25, "green")),
            color="background",
            description=(
                "30 天错误预算的剩余；负数表示已超支。",
                "Remaining error budget of 30 days; a negative value means that it is exceeded.",
            ),
            runbooks=["CcmusicErrorBudgetTrickle"],
        ),
    )


def _course() -> Iterator[Line]:
    yield "变化 Over time"
    yield line(
        8,
        graph(
            "错误率与目标 Error ratio and objective",
            *(query(f"ccmusic:failure_ratio:{window}", window) for window in ("5m", "1h", "1d")),
            limit("error_budget"),
            unit="percentunit",
            description=("目标：99.5 % 的录音得到回答。", "The objective: 99.5 % of the recordings are answered."),
            runbooks=["CcmusicErrorBudgetFastBurn", "CcmusicErrorBudgetSlowBurn"],
        ),
        graph(
            "燃烧率 Burn rate",
            *(
                query(f'ccmusic:failure_ratio:{window} / scalar(ccmusic:limit{{of="error_budget"}})', window)
                for window in WINDOWS
            ),
            limit("fast_burn", "快 fast"),
            limit("slow_burn", "慢 slow"),
            limit("trickle_burn", "极慢 trickle"),
            named=colors(**dict(zip(WINDOWS, BLUES, strict=True))),
            description=(
                "1 表示 30 天恰好用完预算；三条线是三个告警的阈值。",
                "At 1 the budget lasts exactly 30 days; the three lines are the thresholds of the three alerts.",
            ),
            runbooks=["CcmusicErrorBudgetFastBurn", "CcmusicErrorBudgetSlowBurn", "CcmusicErrorBudgetTrickle"],
        ),
    )
    yield line(
        8,
        graph(
            "录音 Recordings in 5 minutes",
            query("ccmusic:recordings:increase5m - ccmusic:failures:increase5m", "已回答 answered"),
            query("ccmusic:failures:increase5m", "未回答 failed"),
            stacked=True,
            named=colors(**{"已回答 answered": "green", "未回答 failed": "red"}),
        ),
        graph(
            "拒绝率 Refused because of overload",
            query("ccmusic:refused_ratio:5m", "拒绝 refused"),
            limit("refused_ratio"),
            unit="percentunit",
            runbooks=["CcmusicOverloaded"],
        ),
        states(
            "探测 Probe",
            query('probe_success{job="ccmusic"}', "{{instance}}"),
            mappings=YES_OR_NO,
            runbooks=["CcmusicProbeFails", "CcmusicProbeMissing"],
        ),
    )


def slo() -> dict[str, Any]:
    """The dashboard."""
    return dashboard(
        "ccmusic-slo",
        "CCMusic: SLO",
        "目标 99.5 %：完成情况与错误预算。The objective of 99.5 %, and its error budget.",
        _now(),
        _course(),
    )
