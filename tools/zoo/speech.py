"""Speech encoders, from a spectrogram and from the waveform."""

from __future__ import annotations

from typing import Any

from torch import nn

from .reference import Built, Call, Reference, real

__all__ = ["REFERENCES"]

TRANSFORMERS = "Apache-2.0"
FRAMES = 500  # encoder frames: ten seconds, where the published checkpoint has room for thirty
SAMPLES = 32000  # two seconds at 16 kHz


def whisper_tiny() -> Built:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(max_source_positions=FRAMES)

    def forward(net: nn.Module, spectrogram: Any) -> Any:
        return net(spectrogram).last_hidden_state

    inputs = {"input_features": real(1, config.num_mel_bins, 2 * FRAMES, std=0.5)}
    return Built(Call(WhisperEncoder(config), forward), inputs, ["last_hidden_state"])


def moonshine_tiny() -> Built:
    from transformers import MoonshineConfig
    from transformers.models.moonshine.modeling_moonshine import MoonshineEncoder

    def forward(net: nn.Module, waveform: Any) -> Any:
        return net(waveform).last_hidden_state

    inputs = {"input_values": real(1, SAMPLES, std=0.1)}
    return Built(Call(MoonshineEncoder(MoonshineConfig()), forward), inputs, ["last_hidden_state"])


REFERENCES = (
    Reference(
        "whisper-tiny-encoder",
        "speech",
        "transformers WhisperEncoder, openai/whisper-tiny sizes, 10 s",
        TRANSFORMERS,
        whisper_tiny,
    ),
    Reference(
        "moonshine-tiny-encoder",
        "speech",
        "transformers MoonshineEncoder, UsefulSensors/moonshine-tiny sizes, 2 s",
        TRANSFORMERS,
        moonshine_tiny,
        opset=18,
    ),
)
