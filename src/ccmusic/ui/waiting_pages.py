"""The small pages at "/" while there is no other: it is starting, it failed, or Gradio is not installed."""

from __future__ import annotations

from ccmusic.ui.texts import TITLE

_SHELL = """<!doctype html>
<html lang="zh"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
{head}<link rel="icon" href="data:,"><title>{title}</title><style>
body{{margin:0;min-height:100vh;display:grid;place-items:center;font:16px/1.6 system-ui,"Noto Sans CJK SC",sans-serif;
color:#1e1b2e;background:#f6f4fb}}main{{text-align:center;padding:2rem}}h1{{font-size:1.4rem;margin:0 0 1rem}}
a{{color:#7c3aed}}.bars{{display:flex;gap:6px;justify-content:center;height:40px;align-items:center;margin-bottom:1.5rem}}
.bars i{{width:7px;height:12px;border-radius:4px;background:#b73779;animation:b 1s infinite ease-in-out alternate}}
.bars i:nth-child(2){{animation-delay:.2s}}.bars i:nth-child(3){{animation-delay:.4s}}
.bars i:nth-child(4){{animation-delay:.6s}}
@keyframes b{{to{{height:38px;background:#fe9f6d}}}}
@media(prefers-color-scheme:dark){{body{{color:#eee;background:#14101f}}a{{color:#c4a5ff}}}}
@media(prefers-reduced-motion:reduce){{.bars i{{animation:none}}}}
</style></head><body><main>{body}<p><a href="docs">API</a> · <a href="health">Health</a></p></main></body></html>
"""

STARTING_PAGE = _SHELL.format(
    head='<meta http-equiv="refresh" content="1">',
    title=TITLE,
    body=f'<div class="bars"><i></i><i></i><i></i><i></i></div><h1>{TITLE}</h1>'
    "<p>The page is starting and will appear here automatically.<br>页面正在启动，稍后会自动显示。</p>",
)
ABSENT_PAGE = _SHELL.format(
    head="",
    title=TITLE,
    body=f"<h1>{TITLE}</h1><p>This service runs without the web page: the extra <code>page</code> is not installed.<br>"
    "此服务未安装网页界面：缺少附加组件 <code>page</code>。</p>",
)
FAILED_PAGE = _SHELL.format(
    head='<meta http-equiv="refresh" content="5">',
    title=TITLE,
    body=f"<h1>{TITLE}</h1><p>The page does not work at present and is being started again. Health has the cause. "
    "The API works without it.<br>页面暂时无法使用，正在重新启动，原因请查看 Health。API 不受影响。</p>",
)
