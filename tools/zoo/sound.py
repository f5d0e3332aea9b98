"""More speech: encoders of waveforms and spectrograms, a decoder with a cache, vocoders, streaming with a state."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .decoders import SPECIAL, VOCABULARY
from .language import PAST, TRANSFORMERS
from .reference import Built, Call, Reference, cache_feeds, hf, ids, real

__all__ = ["REFERENCES"]

OURS = "Apache-2.0"
SAMPLES = 8000  # half a second at 16 kHz


def waveform(name: str, **config: Any) -> Built:
    def forward(net: nn.Module, samples: Any) -> Any:
        return net(input_values=samples)[0]

    net = hf(name, **{"num_hidden_layers": 2, **config})
    return Built(Call(net, forward), {"input_values": real(1, SAMPLES, std=0.1)}, ["logits"])


def spectrogram_transformer() -> Built:
    net = hf("ASTForAudioClassification", num_hidden_layers=2, max_length=256, num_labels=527)

    def forward(net: nn.Module, spectrum: Any) -> Any:
        return net(input_values=spectrum).logits

    return Built(Call(net, forward), {"input_values": real(1, 256, 128, std=0.5)}, ["logits"])


def whisper_decoder() -> Built:
    """One step of Whisper's decoder: its own tokens' cache, and the cached keys and values of 100 frames."""
    from transformers import DynamicCache, EncoderDecoderCache

    frames, layers, heads, size = 100, 4, 6, 64
    net = hf(
        "WhisperForConditionalGeneration",
        vocab_size=VOCABULARY,
        encoder_layers=1,
        max_source_positions=frames,
        decoder_start_token_id=1,
        **SPECIAL,
    )
    inputs = {
        "decoder_input_ids": ids(1, 1, vocabulary=VOCABULARY),
        "encoder_hidden_states": real(1, frames, 384),
        **cache_feeds(layers, heads, PAST, size),
        **{n.replace("past", "cross"): f for n, f in cache_feeds(layers, heads, frames, size).items()},
    }

    def forward(net: nn.Module, tokens: Any, encoded: Any, *caches: Any) -> Any:
        past, cross = caches[: 2 * layers], caches[2 * layers :]
        both = EncoderDecoderCache(
            DynamicCache(list(zip(past[0::2], past[1::2], strict=True))),
            DynamicCache(list(zip(cross[0::2], cross[1::2], strict=True))),
        )
        result = net(decoder_input_ids=tokens, encoder_outputs=(encoded,), past_key_values=both, use_cache=True)
        own = result.past_key_values.self_attention_cache
        return (result.logits, *(t for layer in own.layers for t in (layer.keys, layer.values)))

    outputs = ["logits", *(n.replace("past_key_values", "present") for n in inputs if n.startswith("past"))]
    return Built(Call(net, forward), inputs, outputs)


def vocoder() -> Built:
    net = hf("SpeechT5HifiGan", upsample_initial_channel=128)
    for part in net.modules():  # whose own initial values make less and less of a signal
        if isinstance(part, (nn.Conv1d, nn.ConvTranspose1d)):
            nn.init.kaiming_normal_(part.weight, 0.1, "fan_out" if part.kernel_size[0] > 15 else "fan_in")

    def forward(net: nn.Module, spectrum: Any) -> Any:
        return net(spectrum)

    return Built(Call(net, forward), {"spectrogram": real(1, 32, 80, std=0.5)}, ["waveform"])


class VoiceActivity(nn.Module):
    """A voice activity detector in the manner of Silero's: a short-time spectrum as a convolution, four more, an
    LSTM with its state given and returned. (1, 576) samples to a probability."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.spectrum = nn.Conv1d(1, 258, 256, 128, bias=False)
        self.body = nn.Sequential(
            nn.Conv1d(129, 128, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(128, 64, 3, 2, 1),
            nn.ReLU(),
            nn.Conv1d(64, 64, 3, 2, 1),
            nn.ReLU(),
            nn.Conv1d(64, width, 3, padding=1),
            nn.ReLU(),
        )
        self.state = nn.LSTM(width, width, batch_first=True)
        self.last = nn.Conv1d(width, 1, 1)

    def forward(
        self, samples: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        padded = F.pad(samples.unsqueeze(1), (0, 64), mode="reflect")
        real_part, imaginary = self.spectrum(padded).chunk(2, 1)
        x = self.body(torch.sqrt(real_part**2 + imaginary**2 + 1e-6))
        y, (hidden, cell) = self.state(x.transpose(1, 2), (hidden, cell))
        return self.last(F.relu(y.transpose(1, 2))).sigmoid().mean(2), hidden, cell


def voice_activity() -> Built:
    state = real(1, 1, 128, std=0.3)
    inputs = {"samples": real(1, 576, std=0.1), "hidden": state, "cell": state}
    return Built(VoiceActivity(), inputs, ["speech", "next_hidden", "next_cell"])


class Transducer(nn.Module):
    """A transducer's predictor and joiner (Graves, 2012): a token and the LSTM's state, joined to 40 frames."""

    def __init__(self, width: int = 640, tokens: int = 1025) -> None:
        super().__init__()
        self.embed, self.state = nn.Embedding(tokens, width), nn.LSTM(width, width, 2, batch_first=True)
        self.frames, self.words = nn.Linear(512, width), nn.Linear(width, width)
        self.last = nn.Linear(width, tokens)

    def forward(self, frames: torch.Tensor, token: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor) -> Any:
        words, (hidden, cell) = self.state(self.embed(token), (hidden, cell))
        joined = torch.tanh(self.frames(frames).unsqueeze(2) + self.words(words).unsqueeze(1))
        return self.last(joined).log_softmax(-1), hidden, cell


def transducer() -> Built:
    state = real(2, 1, 640, std=0.3)
    inputs = {"frames": real(1, 40, 512), "token": ids(1, 1, vocabulary=1025), "hidden": state, "cell": state}
    return Built(Transducer(), inputs, ["scores", "next_hidden", "next_cell"])


class Keywords(nn.Module):
    """A separable network that spots keywords (Zhang et al., 2017): (1, 1, 49, 10) features to 12 words."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, width, (10, 4), 2, (5, 1)), nn.BatchNorm2d(width), nn.ReLU()]
        for _ in range(4):
            layers += [nn.Conv2d(width, width, 3, padding=1, groups=width), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU()]
        self.body, self.last = nn.Sequential(*layers), nn.Linear(width, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(x).mean((2, 3)))


class Denoiser(nn.Module):
    """A streaming denoiser in the manner of RNNoise (Valin, 2018): features of a frame, three GRUs' states, gains."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(42, 24)
        self.voice, self.noise = nn.GRU(24, 24, batch_first=True), nn.GRU(90, 48, batch_first=True)
        self.clean, self.last = nn.GRU(114, 96, batch_first=True), nn.Linear(96, 22)

    def forward(self, x: torch.Tensor, *states: torch.Tensor) -> Any:
        dense = torch.tanh(self.dense(x))
        voice, one = self.voice(dense, states[0])
        noise, two = self.noise(torch.cat([dense, voice, x], -1), states[1])
        clean, three = self.clean(torch.cat([voice, noise, x], -1), states[2])
        return torch.sigmoid(self.last(clean)), one, two, three


def denoiser() -> Built:
    inputs = {"features": real(1, 8, 42)}
    inputs |= {f"state{i}": real(1, 1, size, std=0.3) for i, size in enumerate((24, 48, 96))}
    return Built(Denoiser(), inputs, ["gains", "next0", "next1", "next2"])


def _reference(name: str, source: str, build: Any, **more: Any) -> Reference:
    ours = source.startswith("here")
    full = source if ours else f"transformers {source}"
    return Reference(name, "speech", full, OURS if ours else TRANSFORMERS, build, **more)


REFERENCES = (
    _reference(
        "wav2vec2-base",
        "Wav2Vec2ForCTC, facebook/wav2vec2-base-960h sizes, 2 of 12 layers, 0.5 s",
        lambda: waveform("Wav2Vec2ForCTC"),
    ),
    _reference(
        "hubert-large",
        "HubertForCTC, facebook/hubert-large sizes, 1 of 24 layers, 0.5 s",
        lambda: waveform(
            "HubertForCTC",
            num_hidden_layers=1,
            hidden_size=1024,
            num_attention_heads=16,
            intermediate_size=4096,
            feat_extract_norm="layer",
            do_stable_layer_norm=True,
            conv_bias=True,
        ),
        opset=18,
    ),
    _reference(
        "wavlm-base",
        "WavLMModel, microsoft/wavlm-base sizes, 2 of 12 layers, 0.5 s",
        lambda: waveform("WavLMModel"),
    ),
    _reference("sew-tiny", "SEWModel, asapp/sew-tiny sizes, 2 of 12 layers, 0.5 s", lambda: waveform("SEWModel")),
    _reference(
        "data2vec-audio-base",
        "Data2VecAudioForCTC, facebook/data2vec-audio-base sizes, 2 of 12 layers, 0.5 s",
        lambda: waveform("Data2VecAudioForCTC"),
    ),
    _reference(
        "ast",
        "ASTForAudioClassification, MIT/ast-finetuned-audioset sizes, 2 of 12 layers, 256 frames",
        spectrogram_transformer,
    ),
    _reference(
        "whisper-tiny-decoder",
        "WhisperForConditionalGeneration, openai/whisper-tiny sizes, vocabulary of 8192: one step with a cache",
        whisper_decoder,
        state=True,
    ),
    _reference("hifi-gan", "SpeechT5HifiGan at a quarter of the width, 32 frames", vocoder),
    _reference(
        "voice-activity", "here, in the manner of Silero VAD: a chunk with a state", voice_activity, state=True
    ),
    _reference(
        "transducer",
        "here, after Graves (2012), NeMo's predictor and joiner sizes: a token with a state",
        transducer,
        opset=18,
        state=True,
    ),
    _reference(
        "keyword-spotter",
        "here, after Zhang et al. (2017), DS-CNN small",
        lambda: Built(Keywords(), {"features": real(1, 1, 49, 10)}, ["words"]),
    ),
    _reference("rnnoise", "here, after Valin (2018): 8 frames with states", denoiser, state=True),
)
