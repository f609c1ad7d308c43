"""Dashboard "CCMusic": is the service healthy, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from panels import (
    Line,
    colors,
    dashboard,
    graph,
    limit,
    line,
    query,
    stat,
    states,
    table,
    thresholds,
    values,
    values_or_red,
    wide,
)
from queries import ERRORS, JOB, OBJECTIVE, P95, UP, YES_OR_NO, quantile, rate


def _now() -> Iterator[Line]:
    yield "现状 Now"
    yield line(
        4,
        stat(
            "状态 Status",
            query('probe_success{job="ccmusic"}', instant=True),
            mappings=values_or_red(_1=("正常 OK", "green"), _0=("故障 Down", "red")),
            limits=thresholds("red", (1, "green")),
            color="background",
            description=(
                "/health，由 blackbox exporter 从外部探测。没有数据也是红色。",
                "/health as the blackbox exporter sees it. No data is red too.",
            ),
            runbooks=["CcmusicDown", "CcmusicProbeFails", "CcmusicProbeMissing"],
        ),
        stat(
            "探测成功 Probe == 1",
            query(UP, instant=True),
            mappings=values_or_red(_1=("1", "green")),
            limits=thresholds("red", (1, "green")),
            color="background",
            description=(
                '查询 `probe_success{job="ccmusic"} == 1`：失败时该序列消失，显示为红色。',
                "The query returns no series while the probe fails; missing data is shown in red.",
            ),
            runbooks=["CcmusicProbeFails"],
        ),
        stat(
            "可用率 Availability",
            query('avg_over_time(probe_success{job="ccmusic"}[$__range])', instant=True),
            unit="percentunit",
            decimals=2,
            limits=thresholds("red", (OBJECTIVE, "green")),
            description=("所选时间内成功探测的比例。", "Share of successful probes in the selected time."),
        ),
        stat(
            "已运行 Up for",
            query(f"min(ccmusic_uptime_seconds{{{JOB}}})", instant=True),
            unit="s",
            description=("最近启动的实例。", "Of the instance that started last."),
        ),
        stat(
            "可用工作进程 Workers ready",
            query(f'sum(ccmusic_workers{{{JOB},state=~"idle|busy|testing"}})', instant=True),
            limits=thresholds("red", (1, "green")),
            runbooks=["CcmusicNotReady"],
        ),
        stat(
            "已识别 Classified",
            query(f"sum(increase(ccmusic_classifications_total{{{JOB}}}[$__range]))", instant=True),
            unit="locale",
            decimals=0,
            description=("所选时间内得到答案的录音。", "Recordings answered in the selected time."),
        ),
        stat(
            "隔离的录音 Quarantined",
            query(f"sum(ccmusic_quarantined_recordings{{{JOB}}})", instant=True),
            limits=thresholds("green", (1, "orange")),
            description=(
                "曾两次导致工作进程终止的录音，会被直接拒绝。",
                "Recordings that are refused because two workers ended on them.",
            ),
        ),
        stat(
            "告警 Alerts firing",
            query(
                'count(ALERTS{alertstate="firing",service="ccmusic",severity!="none"}) or vector(0)',
                instant=True,
            ),
            limits=thresholds("green", (1, "red")),
        ),
    )
    yield line(
        6,
        table(
            "原因 Causes",
            query(f"ccmusic_check_info{{{JOB}}}", instant=True, form="table"),
            {
                "check": "检查 Check",
                "status": "结果 Status",
                "code": "代码 Code",
                "cause": "原因 Cause",
                "instance": "实例 Instance",
            },
            hidden=["job"],
            no_value="全部通过 All checks pass",
            description=(
                "每一项警告或失败的检查，含代码和原因。",
                "Every check that warns or fails, with code and cause.",
            ),
            runbooks=["CcmusicRed"],
        ),
        wide(
            table(
                "告警 Alerts",
                query(
                    'max by (alertname, severity, alertstate, instance) (ALERTS{service="ccmusic",severity!="none"})',
                    instant=True,
                    form="table",
                ),
                {
                    "alertname": "告警 Alert",
                    "alertstate": "状态 State",
                    "severity": "级别 Severity",
                    "instance": "实例 Instance",
                },
                link=("告警 Alert", "手册 Runbook", "${runbooks}/${__value.raw}.md"),
                no_value="没有告警 No alerts",
                description=(
                    "待触发和已触发的告警；点击名称可打开处理手册。",
                    "Pending and firing alerts; click a name to open its runbook.",
                ),
            ),
            8,
        ),
    )
    yield line(
        10,
        states(
            "检查 Checks",
            query(
                f'max by (check) (ccmusic_check_status{{{JOB},status="warn"}} + ignoring (status) '
                f'2 * ccmusic_check_status{{{JOB},status="fail"}})',
                "{{check}}",
            ),
            mappings=values(_0=("通过 pass", "green"), _1=("警告 warn", "yellow"), _2=("失败 fail", "red")),
            description=("各实例中最差的结果。", "The worst result of all instances."),
            runbooks=["CcmusicRed"],
        ),
        wide(
            states(
                "探针 Probes",
                query(f"min by (probe) (ccmusic_health{{{JOB}}})", "{{probe}}"),
                query('min(probe_success{job="ccmusic"})', "blackbox"),
                mappings=YES_OR_NO,
                description=(
                    "health：全部承诺成立；readyz：可接收流量；livez：无需重启；startupz：已完成启动。",
                    "health: all that was promised is true; readyz: send traffic; livez: no restart "
                    "needed; startupz: loaded once.",
                ),
                runbooks=["CcmusicRed", "CcmusicNotReady", "CcmusicNotAlive"],
            ),
            10,
        ),
    )
    yield line(
        6,
        graph(
            "运行时长 Uptime",
            query(f"ccmusic_uptime_seconds{{{JOB}}}", "{{instance}}"),
            unit="s",
            description=("回到 0 即为一次重启。", "A drop to 0 is a restart of the service."),
        ),
        table(
            "模型 Model",
            query(f"ccmusic_model_info{{{JOB}}}", instant=True, form="table"),
            {
                "name": "模型 Model",
                "version": "版本 Version",
                "backend": "后端 Backend",
                "instance": "实例 Instance",
                "sha256": "SHA-256",
            },
            hidden=["job"],
            no_value="未加载 None loaded",
            runbooks=["CcmusicModelMismatch"],
        ),
    )


def _requests() -> Iterator[Line]:
    yield "请求 Requests"
    yield line(
        7,
        graph(
            "请求速率 Request rate",
            query(f"sum by (handler) ({rate('http_requests_total')})", "{{handler}}"),
            unit="reqps",
            stacked=True,
            description=("所有 HTTP 请求，含探针与抓取。", "All HTTP requests, including probes and scrapes."),
        ),
        graph(
            "p95 延迟 p95 latency",
            query(P95, "全部请求 All requests"),
            query("ccmusic:classify_seconds:p95_5m", "识别 /v1/classify"),
            limit("classify_p95_seconds"),
            unit="s",
            logarithmic=True,
            description=(
                "第一条曲线含探针与抓取（它们很快），第二条只计识别。",
                "The first curve includes probes and scrapes, which are fast; the second counts "
                "classification alone, and its limit is the alert's.",
            ),
            runbooks=["CcmusicSlow"],
        ),
        graph(
            "错误率 Error rate",
            query(ERRORS, "全部请求 All requests (5xx)"),
            query("ccmusic:failure_ratio:5m", "录音 Recordings"),
            limit("error_budget"),
            unit="percentunit",
            description=(
                "第一条曲线的分母含探针与抓取，且 /health 为 503 时也计为错误；第二条只计录音。",
                "The first curve includes probes and scrapes, and counts a 503 of /health as an error; the "
                "second counts recordings alone.",
            ),
            runbooks=["CcmusicErrorBudgetFastBurn", "CcmusicErrorBudgetSlowBurn", "CcmusicErrorBudgetTrickle"],
        ),
    )
    yield line(
        7,
        graph(
            "状态码 Status codes",
            query(f"sum by (status) ({rate('http_requests_total')})", "{{status}}"),
            unit="reqps",
            stacked=True,
            named=colors(
                **{"200": "green", "400": "yellow", "413": "yellow", "415": "yellow", "422": "yellow"},
                **{"500": "red", "503": "orange", "504": "dark-red", "507": "purple"},
            ),
        ),
        graph(
            "队列 Queue",
            query(f"sum(ccmusic_queue_waiting{{{JOB}}})", "等待 waiting"),
            query(f"sum(ccmusic_queue_running{{{JOB}}})", "处理 running"),
            stacked=True,
            named=colors(**{"等待 waiting": "orange", "处理 running": "blue"}),
            runbooks=["CcmusicOverloaded"],
        ),
        graph(
            "最长等待 Oldest in the queue",
            query(f"max(ccmusic_queue_oldest_wait_seconds{{{JOB}}})", "等待 wait"),
            limit("queue_age_seconds"),
            unit="s",
            runbooks=["CcmusicQueueOld"],
        ),
    )


def _work() -> Iterator[Line]:
    yield "工作 Work"
    yield line(
        7,
        graph(
            "工作进程状态 Workers by state",
            query(f"sum by (state) (ccmusic_workers{{{JOB}}})", "{{state}}"),
            stacked=True,
            named=colors(idle="green", busy="blue", testing="purple", starting="yellow", retiring="text", failed="red"),
            runbooks=["CcmusicNotReady"],
        ),
        graph(
            "工作进程重启 Worker restarts",
            query(f"sum by (reason) (ccmusic_worker_restarts_total{{{JOB}}})", "{{reason}}"),
            counter=True,
            description=(
                "服务启动以来的次数，按原因；memory_growth 是计划内的更换。",
                "Since the start of the service, by reason; memory_growth is a planned replacement.",
            ),
            runbooks=["CcmusicWorkerRestarts"],
        ),
        graph(
            "各阶段 p50 Stages, median",
            query(quantile(0.5, "ccmusic_stage_duration_seconds", "le, stage"), "{{stage}}"),
            unit="s",
        ),
        graph(
            "各阶段 p95 Stages, p95",
            query(quantile(0.95, "ccmusic_stage_duration_seconds", "le, stage"), "{{stage}}"),
            unit="s",
            runbooks=["CcmusicSlow"],
        ),
    )
    yield line(
        6,
        graph(
            "自检间隔 Self-test age",
            query(f"max(ccmusic_self_test_age_seconds{{{JOB}}})", "距上次 age"),
            limit("self_test_age_idle_seconds"),
            unit="s",
            description=(
                "忙碌的工作进程不被打断，限值只适用于空闲时。",
                "A busy worker is not interrupted; the limit applies to an idle one.",
            ),
            runbooks=["CcmusicSelfTestStale"],
        ),
        graph(
            "自检用时 Self-test duration",
            query(f"max(ccmusic_self_test_seconds{{{JOB}}})", "用时 duration"),
            unit="s",
            runbooks=["CcmusicSlow"],
        ),
        graph(
            "自检与页面故障 Self-test and page failures",
            query(f"sum(ccmusic_self_test_failures_total{{{JOB}}})", "自检 self-test"),
            query(f"sum(ccmusic_page_failures_total{{{JOB}}})", "页面 page"),
            counter=True,
            named=colors(**{"自检 self-test": "red", "页面 page": "orange"}),
            description=("服务启动以来的次数。", "Since the start of the service."),
            runbooks=["CcmusicSelfTestFailing", "CcmusicPageFails"],
        ),
        graph(
            "事件循环延迟 Event-loop lag",
            query(f"max(ccmusic_event_loop_lag_seconds{{{JOB}}})", "延迟 lag"),
            query(f"max(increase(ccmusic_stopped_seconds_total{{{JOB}}}[$__rate_interval]))", "停顿 stopped"),
            limit("loop_lag_seconds"),
            unit="s",
            description=(
                "延迟不计停顿：进程被暂停，或没有分到处理器。",
                "The lag excludes the time in which the process was stopped or got no processor.",
            ),
            runbooks=["CcmusicLoopLag"],
        ),
    )


def _resources() -> Iterator[Line]:
    yield "资源 Resources"
    yield line(
        6,
        graph(
            "连接与可疑客户端 Connections, suspect clients",
            query(f"sum(ccmusic_open_connections{{{JOB}}})", "打开的连接 open connections"),
            query(f"sum(ccmusic_suspect_clients{{{JOB}}})", "可疑客户端 suspect clients"),
            description=(
                "可疑客户端：其多个录音曾导致工作进程终止。",
                "Suspect clients: several of their recordings ended workers.",
            ),
            runbooks=["CcmusicRed"],
        ),
        graph(
            "关闭的连接与丢失的日志 Closed connections, lost log lines",
            query(f"sum(ccmusic_connections_closed_for_room_total{{{JOB}}})", "关闭的连接 closed connections"),
            query(f"sum(ccmusic_log_dropped_lines_total{{{JOB}}})", "丢失的日志行 lost log lines"),
            counter=True,
            description=(
                "服务启动以来的次数。连接数达到上限时，会关闭最久未用的连接。",
                "Since the start of the service. At the limit of connections, the oldest idle one is closed.",
            ),
            runbooks=["CcmusicRed"],
        ),
        graph(
            "接收中的数据 Request bodies held",
            query(
                f"max by (place) (ccmusic_held_bytes{{{JOB}}} / ccmusic_max_held_bytes{{{JOB}}})",
                "{{place}}",
            ),
            unit="percentunit",
            maximum=1,
            description=(
                "请求内容占上限的比例，按内存与临时文件；达到上限时，新的请求以 503 拒绝。",
                "Share of the most bytes of request bodies, in memory and in temporary files; at the limit, requests "
                "are refused with 503.",
            ),
        ),
    )
    yield line(
        7,
        graph(
            "内存 Memory",
            query(f"sum by (process) (ccmusic_process_memory_bytes{{{JOB}}})", "{{process}}"),
            unit="bytes",
            stacked=True,
        ),
        graph(
            "内存占用 Memory used",
            query(f"max(ccmusic_memory_used_ratio{{{JOB}}})", "占用 used"),
            limit("memory_used_ratio"),
            unit="percentunit",
            maximum=1,
            description=(
                "占容器或机器上限的比例，不含内核可随时回收的文件缓存。",
                "Share of the limit of the container, or of the memory of the machine, without the file cache that the "
                "kernel takes back.",
            ),
            runbooks=["CcmusicMemoryHigh"],
        ),
        graph(
            "磁盘 Disk",
            query(f"max(ccmusic_disk_used_ratio{{{JOB}}})", "已用 used"),
            limit("disk_used_ratio"),
            unit="percentunit",
            maximum=1,
            runbooks=["CcmusicDiskLow"],
        ),
        graph(
            "磁盘剩余 Disk free",
            query(f"min(ccmusic_disk_free_bytes{{{JOB}}})", "剩余 free"),
            limit("disk_free_bytes"),
            unit="bytes",
            runbooks=["CcmusicDiskLow"],
        ),
        graph(
            "显存 GPU memory",
            query(f"max(ccmusic_gpu_memory_used_ratio{{{JOB}}})", "占用 used"),
            limit("gpu_memory_used_ratio"),
            unit="percentunit",
            maximum=1,
            description=("没有显卡时为空。", "Empty without a GPU."),
            runbooks=["CcmusicGpuMemoryHigh"],
        ),
        wide(
            graph(
                "前台进程 CPU Front process CPU",
                query(f"sum({rate('process_cpu_seconds_total')})", "核 cores"),
                unit="percentunit",
                description=("100% 为一个核。", "100 % is one core."),
            ),
            4,
        ),
    )


def service() -> dict[str, Any]:
    """The dashboard."""
    return dashboard(
        "ccmusic",
        "CCMusic",
        "服务是否正常；若不正常，原因是什么。Is the service healthy, and if not, why?",
        _now(),
        _requests(),
        _work(),
        _resources(),
    )
