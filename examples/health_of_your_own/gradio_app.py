"""Health checks for your own Gradio application: the lines between the rulers.

The page is available at once, while the model is loading; ``/health`` reports the state. A second port answers even
while a handler blocks the event loop of the page::

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
    return model.value(text)  # raises a clear error while the model is loading


demo = gr.Interface(shout, "text", "text")

if __name__ == "__main__":
    management.start()
    print(f"health: http://127.0.0.1:{management.port}/health", flush=True)
    demo.launch(app_kwargs=app_kwargs(health))
