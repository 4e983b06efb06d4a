"""Figures of librosa that the unit tests of features.mel_spectrogram and features.mfcc are held against.

    pip install librosa && python tests/peers/sound.py
"""

import librosa
import numpy as np

RATE = 8000
# A tone that rises from 200 Hz by 1500 Hz a second, half a second long, fading out; the same formula is in the tests.
time = np.arange(4000) / RATE
chirp = (0.5 * np.exp(-2 * time) * np.sin(2 * np.pi * (200 * time + 750 * time**2))).astype(np.float32)


def show(name, array):
    places = [(0, 0), (1, 3), (3, 1), (array.shape[0] // 2, array.shape[1] // 2), (array.shape[0] - 1, array.shape[1] - 1)]
    figures = [f"({row}, {column}, {float(array[row, column])!r})" for row, column in places]
    print(f"{name}: shape {array.shape}, sum {float(array.astype(np.float64).sum())!r}\n  {', '.join(figures)}")


frames = dict(sr=RATE, n_fft=512, hop_length=160, n_mels=20)
power = librosa.feature.melspectrogram(y=chirp, pad_mode="reflect", **frames)
show("power, reflect", power)
show("decibel, reflect", librosa.power_to_db(power))
show("decibel, reflect, max, 40 dB", librosa.power_to_db(power, ref=np.max, top_db=40))
show("power, zeros", librosa.feature.melspectrogram(y=chirp, pad_mode="constant", **frames))
show("power, not centred", librosa.feature.melspectrogram(y=chirp, center=False, **frames))
other = librosa.feature.melspectrogram(
    y=chirp, sr=RATE, n_fft=500, hop_length=125, win_length=301, n_mels=12, fmin=100, fmax=3000, htk=True, norm=None, pad_mode="reflect"
)
show("power, HTK, no norm, window 301 of 500, 100 to 3000 Hz", other)
show("MFCC, reflect", librosa.feature.mfcc(y=chirp, n_mfcc=13, pad_mode="reflect", **frames))
defaults = librosa.feature.melspectrogram(y=chirp, sr=RATE, pad_mode="reflect")
show("decibel, defaults", librosa.power_to_db(defaults))
