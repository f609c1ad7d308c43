"""What makes models of PyTorch checkpoints, from a file or from a hub, without torch.

In the order in which a checkpoint passes through them:

- ``__main__``: the process that the service starts when its model is a checkpoint
- `prepare`: the setting ``model`` to a model directory, through the cache
- `file_lock`: one process at a time fills a cache entry
- ``hub/``: `pull` downloads a checkpoint (its ``__init__`` lists the files)
- `torch_file`: the zip archive that ``torch.save`` writes, to arrays
- `pickle_records`: the pickle inside it, read as data
- `state_dict`: the parameters; which backbone they belong to; a check of every key
- ``architectures/``: the five backbones, each written once, and the ONNX file built from one
- `real_windows`: windows of real recordings
- `quantize`: the network in 8-bit integers
- `precision`: how far another precision changes the answers, and which one runs by default
- `convert`: all of these steps in order, and the model directory that they give
"""
