"""Records of a supervisor in some states, for tests of what is judged from them."""

from __future__ import annotations

from dataclasses import replace

from ccmusic.inference.result import ModelIdentity
from ccmusic.workers.records import WorkerRecord
from ccmusic.workers.served_model import ServedModel
from ccmusic.workers.supervisor_state import SupervisorState

SERVED = ServedModel(ModelIdentity("bands", "0.0.1", "0" * 64), "onnxruntime-cpu")
IDLE = WorkerRecord(0, "idle", 7, 0, 0)
STARTING = WorkerRecord(1, "starting", None, 1, 0)
FAILED = WorkerRecord(0, "failed", None, 1, 0, error="no such operator")
READY = SupervisorState(served=SERVED, workers=(IDLE, replace(IDLE, index=1)), read_at=1000.0)
