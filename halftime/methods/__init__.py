"""Methods: one speed-up a file, each usable alone in anybody's loop and as a piece of a recipe."""

from halftime.methods.adamw import AdamW
from halftime.methods.alternating_flip import AlternatingFlip
from halftime.methods.any_optimizer import AnyOptimizer
from halftime.methods.channels_last import ChannelsLast
from halftime.methods.clip_gradients import ClipGradients
from halftime.methods.compile import Compile
from halftime.methods.conflict_meter import ConflictMeter
from halftime.methods.cosine import Cosine
from halftime.methods.cut_mix import CutMix
from halftime.methods.cutout import Cutout
from halftime.methods.drop_on_stall import DropOnStall
from halftime.methods.drop_stochastic import DropStochastic
from halftime.methods.easy_first import EasyFirst
from halftime.methods.easy_tasks_first import EasyTasksFirst
from halftime.methods.ema import EMA
from halftime.methods.fast_loader import FastLoader
from halftime.methods.float8 import Float8
from halftime.methods.focal_prior import FocalPrior
from halftime.methods.freeze_early import FreezeEarly
from halftime.methods.fused_optimizer import FusedOptimizer
from halftime.methods.gradient_surgery import GradientSurgery
from halftime.methods.guard import Guard
from halftime.methods.hard_examples import HardExamples
from halftime.methods.kaiming import Kaiming
from halftime.methods.label_smoothing import LabelSmoothing
from halftime.methods.layer_rates import LayerRates
from halftime.methods.lookahead import Lookahead
from halftime.methods.mix_up import MixUp
from halftime.methods.mixed_precision import MixedPrecision
from halftime.methods.multi_device import MultiDevice
from halftime.methods.muon import Muon
from halftime.methods.on_device import OnDevice
from halftime.methods.one_cycle import OneCycle
from halftime.methods.packed import Packed
from halftime.methods.progressive_resize import ProgressiveResize
from halftime.methods.repeat_factor import RepeatFactor
from halftime.methods.schedule_free import ScheduleFree
from halftime.methods.sequence_growth import SequenceGrowth
from halftime.methods.sgd import SGD
from halftime.methods.soft_prune import SoftPrune
from halftime.methods.step_drop import StepDrop
from halftime.methods.subset_pretrain import SubsetPretrain
from halftime.methods.task_weights import TaskWeights
from halftime.methods.test_time_flip import TestTimeFlip
from halftime.methods.useful_data import UsefulData
from halftime.methods.warm_start import WarmStart
from halftime.methods.warmup_stable_decay import WarmupStableDecay
from halftime.methods.whitening import Whitening
from halftime.methods.zero_residual import ZeroResidual
from halftime.places import Method

ALL: tuple[type[Method], ...] = (
    AdamW,
    AlternatingFlip,
    AnyOptimizer,
    ChannelsLast,
    ClipGradients,
    Compile,
    ConflictMeter,
    Cosine,
    CutMix,
    Cutout,
    DropOnStall,
    DropStochastic,
    EasyFirst,
    EasyTasksFirst,
    EMA,
    FastLoader,
    Float8,
    FocalPrior,
    FreezeEarly,
    FusedOptimizer,
    GradientSurgery,
    Guard,
    HardExamples,
    Kaiming,
    LabelSmoothing,
    LayerRates,
    Lookahead,
    MixedPrecision,
    MixUp,
    MultiDevice,
    Muon,
    OnDevice,
    OneCycle,
    Packed,
    ProgressiveResize,
    RepeatFactor,
    ScheduleFree,
    SequenceGrowth,
    SGD,
    SoftPrune,
    StepDrop,
    SubsetPretrain,
    TaskWeights,
    TestTimeFlip,
    UsefulData,
    WarmStart,
    WarmupStableDecay,
    Whitening,
    ZeroResidual,
)

__all__ = [
    "ALL",
    "EMA",
    "SGD",
    "AdamW",
    "AlternatingFlip",
    "AnyOptimizer",
    "ChannelsLast",
    "ClipGradients",
    "Compile",
    "ConflictMeter",
    "Cosine",
    "CutMix",
    "Cutout",
    "DropOnStall",
    "DropStochastic",
    "EasyFirst",
    "EasyTasksFirst",
    "FastLoader",
    "Float8",
    "FocalPrior",
    "FreezeEarly",
    "FusedOptimizer",
    "GradientSurgery",
    "Guard",
    "HardExamples",
    "Kaiming",
    "LabelSmoothing",
    "LayerRates",
    "Lookahead",
    "MixUp",
    "MixedPrecision",
    "MultiDevice",
    "Muon",
    "OnDevice",
    "OneCycle",
    "Packed",
    "ProgressiveResize",
    "RepeatFactor",
    "ScheduleFree",
    "SequenceGrowth",
    "SoftPrune",
    "StepDrop",
    "SubsetPretrain",
    "TaskWeights",
    "TestTimeFlip",
    "UsefulData",
    "WarmStart",
    "WarmupStableDecay",
    "Whitening",
    "ZeroResidual",
]
