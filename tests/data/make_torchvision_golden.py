"""Write ``torchvision_golden.json``: outputs of torchvision's networks with ccMusic's head and computed weights.

Usage: ``python tests/data/make_torchvision_golden.py`` with torchvision installed (made with torch 2.14.1 and
torchvision 0.29.1). Needed again only when `computed_weights` changes. The head is built here from the
published description and shares no code with the package.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import torch
import torchvision
from computed_weights import parameter, pictures
from torch import nn

BACKBONES = ("vgg19_bn", "vit_b_16", "convnext_base", "inception_v3", "swin_b")
N_LABELS = 16


def geometric_head(features: int) -> list[nn.Module]:
    q = (1.0 * features / N_LABELS) ** 0.25
    l1 = int(q * N_LABELS)
    l2 = int(q * l1)
    l3 = int(q * l2)
    hidden = [
        nn.Dropout(),
        nn.Linear(features, l3),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(l3, l2),
        nn.ReLU(),
        nn.Dropout(),
    ]
    return [*hidden, nn.Linear(l2, l1), nn.ReLU(), nn.Linear(l1, N_LABELS)]


def replace_head(name: str, model: nn.Module) -> None:
    if name.startswith("convnext"):
        features = model.classifier[2].in_features
        model.classifier = nn.Sequential(*model.classifier[:2], *geometric_head(features))
    elif name.startswith("vgg"):
        model.classifier = nn.Sequential(*geometric_head(model.classifier[0].in_features))
    elif name.startswith("inception"):
        model.fc = nn.Sequential(*geometric_head(model.fc.in_features))
    elif name.startswith("swin"):
        model.head = nn.Sequential(*geometric_head(model.head.in_features))
    else:
        model.heads.head = nn.Sequential(*geometric_head(model.heads.head.in_features))


def golden(name: str) -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Inception's own, about its initial weights
        model = getattr(torchvision.models, name)(weights=None)
    original = sum(value.numel() for value in model.parameters())
    replace_head(name, model)
    model.eval()
    for key, value in model.state_dict().items():
        if value.dtype == torch.float32:
            value.copy_(torch.from_numpy(parameter(key, tuple(value.shape))))
    with torch.inference_mode():
        logits = model(torch.from_numpy(pictures())).numpy()
    keys = [
        f"{key} {list(value.shape)} {value.dtype}".replace("torch.", "") for key, value in model.state_dict().items()
    ]
    return {
        "keys": len(keys),
        "keys_sha256": hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest(),
        "original_parameters": original,
        "parameters": sum(value.numel() for value in model.parameters()),
        "logits": np.round(logits.astype(np.float64), 7).tolist(),
    }


def main() -> None:
    torch.manual_seed(0)
    answers = {"torch": torch.__version__.split("+")[0], "torchvision": torchvision.__version__.split("+")[0]}
    answers |= {name: golden(name) for name in BACKBONES}
    path = Path(__file__).with_name("torchvision_golden.json")
    path.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
    for name in BACKBONES:
        spread = np.ptp(answers[name]["logits"], axis=0).max(), np.ptp(answers[name]["logits"], axis=1).max()
        print(name, answers[name]["keys"], answers[name]["parameters"], "between pictures and labels", *spread)


if __name__ == "__main__":
    main()
