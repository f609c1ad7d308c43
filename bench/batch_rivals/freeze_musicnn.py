"""Write the network of the `musicnn` package as the graph that Essentia reads: ``python freeze_musicnn.py FILE``.

Essentia's `msd-musicnn-1.pb` is the same network with the same weights, but is not on the package index.
"""

from __future__ import annotations

import sys
from pathlib import Path

import musicnn
import tensorflow.compat.v1 as tf
from musicnn import configuration, models

tf.disable_eager_execution()

N_FRAMES = 187  # 3 s

if __name__ == "__main__":
    with tf.name_scope("model"):
        frames = tf.placeholder(tf.float32, [None, N_FRAMES, configuration.N_MELS])
        outputs = models.define_model(frames, tf.constant(value=False), "MSD_musicnn", len(configuration.MSD_LABELS))
        tf.nn.sigmoid(outputs[0])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        tf.train.Saver().restore(session, str(Path(musicnn.__file__).parent / "MSD_musicnn") + "/")
        graph = tf.graph_util.convert_variables_to_constants(
            session, session.graph_def, ["model/Sigmoid"]
        )  # fmt: skip
    Path(sys.argv[1]).write_bytes(graph.SerializeToString())
