from __future__ import annotations

import numpy as np

from ccmusic.features.augment import augment, roughen


def test_augmented_pictures_are_decibels_from_minus_80_to_0() -> None:
    generator = np.random.default_rng(1)
    pictures = generator.uniform(-80, -20, size=(12, 84, 40)).astype(np.float32)
    pictures[6:] += 20
    own = np.array([True] * 3 + [False] * 9)
    out = augment(pictures, generator, own)
    assert out.shape == pictures.shape
    assert out.dtype == np.float32
    assert out.min() >= -80
    assert out.max() <= 0
    assert (out[:3].max(axis=(1, 2)) > -1).all()
    assert (out[3:6].max(axis=(1, 2)) < -10).all()


def test_roughened_pictures_have_noise_or_holes_in_the_same_range() -> None:
    picture = np.full((200, 84, 20), -45, dtype=np.float32)
    picture[:, 40] = -5  # 40 dB above its neighbours: a codec may drop them
    rough = roughen(picture, np.random.default_rng(1))
    assert (rough.min(), rough.max() <= 0, rough.dtype) == (-80, True, np.float32)
    holed = (rough[:, 41] == -80).any(axis=1)
    noisy = (rough[:, 5] != -45).any(axis=1)
    assert 0.2 < holed.mean() < 0.45
    assert 0.35 < noisy.mean() < 0.65
    assert (rough[holed, 41] == -80).mean() > 0.5
    assert (rough[:, 60] != -80).all()  # too far from the loud one
    assert (rough[~holed & ~noisy] == picture[0]).all()
