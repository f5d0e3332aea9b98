"""More forecasters and other readers of time series."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .reference import Built, Call, Reference, hf, real
from .series import CHANNELS, CONTEXT, HORIZON

__all__ = ["REFERENCES"]

OURS = "Apache-2.0"


class BasisExpansion(nn.Module):
    """N-BEATS (Oreshkin et al., 2020), generic: each block takes what it explains away from what the next one sees."""

    def __init__(self, width: int = 256, blocks: int = 4) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(CONTEXT, width),
                nn.ReLU(),
                nn.Linear(width, width),
                nn.ReLU(),
                nn.Linear(width, width),
                nn.ReLU(),
            )
            for _ in range(blocks)
        )
        self.back = nn.ModuleList(nn.Linear(width, CONTEXT) for _ in range(blocks))
        self.ahead = nn.ModuleList(nn.Linear(width, HORIZON) for _ in range(blocks))

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        total = past.new_zeros(past.shape[0], HORIZON)
        for block, back, ahead in zip(self.blocks, self.back, self.ahead, strict=True):
            hidden = block(past)
            past = past - back(hidden)
            total = total + ahead(hidden)
        return total


class Decomposed(nn.Module):
    """DLinear (Zeng et al., 2023): a moving mean and what is left, a linear map each."""

    def __init__(self, window: int = 25) -> None:
        super().__init__()
        self.window = window
        self.trend, self.season = nn.Linear(CONTEXT, HORIZON), nn.Linear(CONTEXT, HORIZON)

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        x = past.transpose(1, 2)
        side = (self.window - 1) // 2
        trend = F.avg_pool1d(F.pad(x, (side, side), mode="replicate"), self.window, 1)
        return (self.season(x - trend) + self.trend(trend)).transpose(1, 2)


class Dense(nn.Module):
    """TiDE (Das et al., 2023): residual dense blocks over the past and known futures, normalised by the last value."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.features = DenseBlock(8, 64, 4)
        self.encode = DenseBlock(CONTEXT + 4 * HORIZON, width, width)
        self.decode = DenseBlock(width, width, 8 * HORIZON)
        self.last, self.skip = DenseBlock(8 + 4, 32, 1), nn.Linear(CONTEXT, HORIZON)

    def forward(self, past: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        level = past[:, -1:]
        x = past - level
        future = self.features(known)
        hidden = self.decode(self.encode(torch.cat([x, future.flatten(1)], 1)))
        each = torch.cat([hidden.view(-1, HORIZON, 8), future], -1)
        return self.last(each).squeeze(-1) + self.skip(x) + level


class DenseBlock(nn.Module):
    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.up, self.down, self.skip = (
            nn.Linear(inputs, hidden),
            nn.Linear(hidden, outputs),
            nn.Linear(inputs, outputs),
        )
        # Of one number nothing is left by a normalisation.
        self.norm = nn.LayerNorm(outputs) if outputs > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.down(torch.relu(self.up(x))) + self.skip(x))


class Inception1d(nn.Module):
    """InceptionTime (Ismail Fawaz et al., 2020): kernels of 39, 19 and 9 side by side, residual every three."""

    def __init__(self, width: int = 32, depth: int = 6) -> None:
        super().__init__()
        self.parts = nn.ModuleList(InceptionPart(CHANNELS if i == 0 else 4 * width, width) for i in range(depth))
        self.shortcuts = nn.ModuleList(nn.Conv1d(i, 4 * width, 1) for i in (CHANNELS, 4 * width))
        self.last = nn.Linear(4 * width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = x
        for index, part in enumerate(self.parts):
            x = part(x)
            if index % 3 == 2:
                x = kept = F.relu(x + self.shortcuts[index // 3](kept))
        return self.last(x.mean(2))


class InceptionPart(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.narrow = nn.Conv1d(inputs, width, 1, bias=False)
        self.wide = nn.ModuleList(nn.Conv1d(width, width, k, padding=k // 2, bias=False) for k in (39, 19, 9))
        self.pooled = nn.Conv1d(inputs, width, 1, bias=False)
        self.norm = nn.BatchNorm1d(4 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.narrow(x)
        parts = [*(w(y) for w in self.wide), self.pooled(F.max_pool1d(x, 3, 1, 1))]
        return F.relu(self.norm(torch.cat(parts, 1)))


class Reconstruction(nn.Module):
    """An LSTM autoencoder that finds anomalies (Malhotra et al., 2016): the error of each step of a window of 32."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.read = nn.LSTM(CHANNELS, hidden, batch_first=True)
        self.write = nn.LSTM(hidden, hidden, batch_first=True)
        self.last = nn.Linear(hidden, CHANNELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        code = self.read(x)[1][0][-1]
        steps = self.write(code.unsqueeze(1).expand(-1, x.shape[1], -1))[0]
        return (self.last(steps) - x).abs().mean(-1)


class ForecastStep(nn.Module):
    """DeepAR (Salinas et al., 2020), one step: a value and two LSTMs' states to a mean, a deviation and new states."""

    def __init__(self, hidden: int = 40) -> None:
        super().__init__()
        self.state = nn.LSTM(CHANNELS + 1, hidden, 3, batch_first=True)
        self.mean, self.deviation = nn.Linear(hidden, CHANNELS), nn.Linear(hidden, CHANNELS)

    def forward(self, value: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor) -> Any:
        out, (hidden, cell) = self.state(value, (hidden, cell))
        return self.mean(out), F.softplus(self.deviation(out)), hidden, cell


def deep_ar() -> Built:
    state = real(3, 4, 40, std=0.3)
    inputs = {"value": real(4, 1, CHANNELS + 1), "hidden": state, "cell": state}
    return Built(ForecastStep(), inputs, ["mean", "deviation", "next_hidden", "next_cell"])


class Inverted(nn.Module):
    """iTransformer (Liu et al., 2024): each channel's whole past is one token; attention between channels."""

    def __init__(self, width: int = 128, layers: int = 2) -> None:
        super().__init__()
        self.embed, self.last = nn.Linear(CONTEXT, width), nn.Linear(width, HORIZON)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 8, 256, 0.0, "gelu", batch_first=True) for _ in range(layers)
        )

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        x = past.transpose(1, 2)
        mean, deviation = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False).add(1e-5).sqrt()
        y = self.embed((x - mean) / deviation)
        for layer in self.layers:
            y = layer(y)
        return (self.last(y) * deviation + mean).transpose(1, 2)


def series_transformer(name: str, **config: Any) -> Built:
    """The encoder and the decoder of a probabilistic forecaster on embedded steps, before the distribution's draws."""
    net: Any = hf(
        name,
        prediction_length=24,
        context_length=96,
        lags_sequence=[1, 2, 3],
        num_time_features=2,
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        **config,
    )

    def forward(net: Any, past: Any, known: Any) -> Any:
        model = net.model
        encoded = model.encoder(inputs_embeds=past)[0]
        return model.decoder(inputs_embeds=known, encoder_hidden_states=encoded)[0]

    size = net.config.feature_size
    return Built(Call(net, forward), {"past": real(1, 96, size), "known": real(1, 24, size)}, ["states"])


def past(net: nn.Module, *shape: int) -> Built:
    return Built(net, {"past_values": real(*shape)}, ["prediction"])


def dense() -> Built:
    return Built(
        Dense(), {"past_values": real(CHANNELS, CONTEXT), "known": real(CHANNELS, HORIZON, 8)}, ["prediction"]
    )


def _reference(name: str, source: str, build: Any, **more: Any) -> Reference:
    return Reference(name, "time series", source, OURS, build, **more)


REFERENCES = (
    _reference(
        "n-beats",
        "here, after Oreshkin et al. (2020), 4 blocks",
        lambda: past(BasisExpansion(), CHANNELS, CONTEXT),
    ),
    _reference(
        "dlinear", "here, after Zeng et al. (2023)", lambda: past(Decomposed(), 1, CONTEXT, CHANNELS), opset=18
    ),
    _reference("tide", "here, after Das et al. (2023)", dense),
    _reference(
        "inception-time",
        "here, after Ismail Fawaz et al. (2020)",
        lambda: past(Inception1d(), 1, CHANNELS, CONTEXT),
        fold=False,
    ),
    _reference(
        "lstm-anomalies", "here, after Malhotra et al. (2016)", lambda: past(Reconstruction(), 1, 32, CHANNELS)
    ),
    _reference(
        "deepar", "here, after Salinas et al. (2020): one step with a state", deep_ar, opset=18, state=True
    ),
    _reference(
        "itransformer", "here, after Liu et al. (2024), 2 layers", lambda: past(Inverted(), 1, CONTEXT, CHANNELS)
    ),
    _reference(
        "series-transformer",
        "transformers TimeSeriesTransformerForPrediction, encoder and decoder",
        lambda: series_transformer("TimeSeriesTransformerForPrediction"),
    ),
)
