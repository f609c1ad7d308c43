"""Honest health for a Gradio application of your own: the lines between the rules.

The page is there at once, while the model loads; ``/health`` says how far it is. A port of its own answers too, also
while a careless handler blocks the page's event loop::

    python gradio_app.py
    curl localhost:7860/health
    curl localhost:7861/livez?verbose
"""

import os
import threading

import gradio as gr


def load_model():
    threading.Event().wait(float(os.environ.get("LOAD_SECONDS", "3")))
    return str.upper


# ----------------------------------------------------------------------------------------------------------------------
from ccmusic.health import Health, HealthServer, app_kwargs, disk_check, memory_check, routes  # noqa: E402

health = Health("shouter", "1.0")
model = health.load("model", load_model, retry_seconds=1)
health.add(memory_check())
health.add(disk_check("."))
management = HealthServer(routes(health), "127.0.0.1", int(os.environ.get("MANAGEMENT_PORT", "7861")))
# ----------------------------------------------------------------------------------------------------------------------


def shout(text):
    return model.value(text)  # a clear error, and never None, while the model still loads


demo = gr.Interface(shout, "text", "text")

if __name__ == "__main__":
    management.start()
    print(f"health: http://127.0.0.1:{management.port}/health", flush=True)
    demo.launch(app_kwargs=app_kwargs(health))
