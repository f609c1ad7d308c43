"""The model behind NVIDIA Dynamo: its frontend, and two workers that are restarted as Kubernetes would restart them.

    python dynamo_server.py PORT        the frontend on PORT, the workers' health on PORT + 1 and PORT + 2
    python dynamo_server.py worker      one worker, as the first form starts it

Dynamo restarts nothing itself: its Kubernetes operator gives each worker a liveness probe, and the kubelet restarts it.
A loop here does the same, without a cluster. Discovery uses files instead of etcd, and no NATS is needed.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rival_model import CANARY_RECORDING, MODEL_NAME, REQUEST_TIMEOUT_SECONDS, WORKERS, RivalModel

LIVENESS_PERIOD_SECONDS = 5  # as the operator's default; one failure is enough, as there
LIVENESS_TIMEOUT_SECONDS = 3  # its default is 30 s
STARTUP_PERIOD_SECONDS = 0.5  # its default is 10 s

DYNAMO = {
    "DYN_DISCOVERY_BACKEND": "file",
    "DYN_REQUEST_PLANE": "tcp",
    "DYN_EVENT_PLANE": "zmq",
    "DYN_TCP_RPC_HOST": "127.0.0.1",
    "DYN_HEALTH_CHECK_ENABLED": "true",
    "DYN_CANARY_WAIT_TIME": "1",
    "DYN_HTTP_BACKEND_STREAM_TIMEOUT_SECS": str(REQUEST_TIMEOUT_SECONDS),
}


async def worker() -> None:
    """Serve the endpoint: one recording at a time, beside the event loop; canary requests wait in the same queue."""
    from dynamo.llm import ModelInput, ModelType, WorkerType, register_model
    from dynamo.runtime import DistributedRuntime

    loop = asyncio.get_running_loop()
    runtime = DistributedRuntime(loop, DYNAMO["DYN_DISCOVERY_BACKEND"], DYNAMO["DYN_REQUEST_PLANE"])
    endpoint = runtime.endpoint(f"{MODEL_NAME}.backend.generate")
    engine = ThreadPoolExecutor(max_workers=1)
    model = await loop.run_in_executor(engine, RivalModel)

    async def generate(request: dict[str, Any], context: object) -> AsyncIterator[dict[str, Any]]:
        body = base64.b64decode(request["messages"][-1]["content"])
        answer = json.dumps(await loop.run_in_executor(engine, model.answer, body))
        delta = {"role": "assistant", "content": answer}
        yield {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": MODEL_NAME,
            "choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}],
        }

    canary = {"messages": [{"role": "user", "content": base64.b64encode(CANARY_RECORDING.read_bytes()).decode()}]}
    await register_model(
        ModelInput.Text,
        ModelType.Chat,
        endpoint,
        MODEL_NAME,
        MODEL_NAME,
        worker_type=WorkerType.Aggregated,
        skip_model_assets=True,
    )
    await endpoint.serve_endpoint(generate, health_check_payload=canary)


def live(port: int, timeout: float) -> bool:
    """Whether a worker's `/live` is 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=timeout) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def keep_running(port: int, environment: dict[str, str]) -> None:
    """Start a worker, and start another one whenever it has ended or its liveness probe has failed."""
    pause = threading.Event()
    while True:
        process = subprocess.Popen(
            [sys.executable, __file__, "worker"], env=environment | {"DYN_SYSTEM_PORT": str(port)}
        )
        while process.poll() is None and not live(port, LIVENESS_TIMEOUT_SECONDS):
            pause.wait(STARTUP_PERIOD_SECONDS)
        while live(port, LIVENESS_TIMEOUT_SECONDS):
            try:
                process.wait(LIVENESS_PERIOD_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue
        process.kill()
        process.wait()


def main() -> None:
    """Start the frontend and both workers, and wait for the frontend."""
    if sys.argv[1] == "worker":
        asyncio.run(worker())
        return
    port = int(sys.argv[1])
    store = Path(os.environ["RIVAL_MARKS"]) / "discovery"
    environment = os.environ | DYNAMO | {"DYN_FILE_KV": str(store)}
    for number in range(1, WORKERS + 1):
        threading.Thread(target=keep_running, args=(port + number, environment), daemon=True).start()
    listen = ["--http-host", "127.0.0.1", "--http-port", str(port), "--migration-limit", "3"]
    subprocess.run([sys.executable, "-m", "dynamo.frontend", *listen], env=environment, check=True)


if __name__ == "__main__":
    main()
