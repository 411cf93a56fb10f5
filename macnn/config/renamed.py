"""Settings of earlier versions and what became of them, so that none is silently ignored."""

RENAMED = {
    "pretrain.fit_rate": "pretrain.fit_lr",
    "train.accumulate": "train.grad_accum_steps",
    "train.clip_norm": "train.clip_grad_norm",
    "train.conv_multiplier": "train.backbone_lr_scale",
    "train.grouping_rate": "train.grouping_lr",
    "train.layer_rates": "train.layer_lr_scales",
    "train.rate": "train.lr",
    "train.warm_up": "train.warmup",
}

_NO_FEATURE_CACHE = "grouping phases are too short to gain from stored features"
GONE = {"train.cache_budget": _NO_FEATURE_CACHE, "train.feature_cache": _NO_FEATURE_CACHE}

# Options were named after the last part of their setting; except these.
OPTIONS = {"--test-share": "data.test"}
