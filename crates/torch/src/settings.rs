//! The params that all networks share: how they are trained.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{CheckContext, ParamPath, Partition, Problem, Schema, path};

use crate::protocol::{
    Augmentation, ClassLoss, Course, Device, EarlyStopping, Focal, Huber, Keep, Loss, NumberLoss,
    Optimizer, Precision, Quantile, Schedule,
};

/// A network's params: its own, then those of its training. `epochs` and `batch_size` are the defaults' functions.
macro_rules! network_params {
    (epochs: $epochs:literal, batch_size: $batch_size:literal, $(#[$meta:meta])* struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $($own)*
            /// How gradients become steps.
            #[serde(default)]
            optimizer: $crate::protocol::Optimizer,
            /// How the learning rate changes over the epochs; it stays, where not given.
            schedule: Option<$crate::protocol::Schedule>,
            /// Epochs over which the learning rate rises from nothing to its whole.
            #[serde(default)]
            #[schemars(range(min = 0.0, max = 100_000.0))]
            warmup: f64,
            /// How often training goes through all rows.
            #[serde(default = $epochs)]
            #[schemars(range(min = 1, max = 100_000))]
            epochs: u64,
            /// When to end before the last epoch; never, where not given.
            early_stopping: Option<$crate::protocol::EarlyStopping>,
            /// Which epoch's weights are kept. Default: `best` with `early_stopping`, else `last`.
            keep: Option<$crate::protocol::Keep>,
            /// Gradients longer than this are shortened to it (Pascanu and others, 2013).
            #[schemars(range(min = 1e-9, max = 1e9))]
            clip_norm: Option<f64>,
            /// Rows for each step.
            #[serde(default = $batch_size)]
            #[schemars(range(min = 1, max = 1_000_000))]
            batch_size: usize,
            /// Where it computes: `auto` (a graphics card, where there is one), `cpu`, `cuda:0`.
            #[serde(default)]
            device: $crate::protocol::Device,
            /// In which numbers it learns; predictions are always made in single precision.
            #[serde(default)]
            precision: $crate::protocol::Precision,
            /// Decides first weights, order of rows and what is dropped; the pipeline's seed, where not given.
            seed: Option<u64>,
            /// Whether features may be personal data.
            #[serde(default)]
            allow_pii: bool,
        }

        impl $name {
            /// How it is trained.
            fn settings(&self) -> $crate::settings::Settings {
                $crate::settings::Settings {
                    optimizer: self.optimizer,
                    schedule: self.schedule,
                    warmup: self.warmup,
                    epochs: self.epochs,
                    early_stopping: self.early_stopping,
                    keep: self.keep,
                    clip_norm: self.clip_norm,
                    batch_size: self.batch_size,
                    device: self.device,
                    precision: self.precision,
                    seed: self.seed,
                }
            }
        }
    };
}
pub(crate) use network_params;

pub(crate) fn five() -> u64 {
    5
}

pub(crate) fn twenty() -> u64 {
    20
}

pub(crate) fn hundred() -> u64 {
    100
}

pub(crate) fn thirty_two() -> usize {
    32
}

pub(crate) fn two_hundred_fifty_six() -> usize {
    256
}

/// How a network is trained, as its params say it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) optimizer: Optimizer,
    pub(crate) schedule: Option<Schedule>,
    pub(crate) warmup: f64,
    pub(crate) epochs: u64,
    pub(crate) early_stopping: Option<EarlyStopping>,
    pub(crate) keep: Option<Keep>,
    pub(crate) clip_norm: Option<f64>,
    pub(crate) batch_size: usize,
    pub(crate) device: Device,
    pub(crate) precision: Precision,
    pub(crate) seed: Option<u64>,
}

impl Settings {
    /// As [`Self::check`], and warns where no rows are held out for what looks at them.
    pub(crate) fn check_with(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        self.check(cx);
        let what = match (self.early_stopping, self.keep) {
            (Some(_), _) => "early_stopping",
            (None, Some(Keep::Best)) => "keep",
            _ => return,
        };
        if !input.facts.partitions.contains(&Partition::Validation) && !input.incomplete {
            let message = "there is no validation part: the training loss decides, which does not tell when a network only learns its rows by heart";
            cx.report(
                Problem::warning("no-validation", path![what], message)
                    .help("let the split above make one: `validation: 0.1`"),
            );
        }
    }

    /// Reports settings that contradict each other.
    pub(crate) fn check(&self, cx: &mut CheckContext<'_>) {
        if self.warmup > self.epochs as f64 {
            let message = format!(
                "the learning rate would still be rising at the end: `warmup` is {} of {} epochs",
                self.warmup, self.epochs
            );
            cx.report(
                Problem::error("out-of-range", path!["warmup"], message)
                    .help("use fewer epochs of warm-up, or more `epochs`"),
            );
        }
        if let Optimizer::Sgd(sgd) = self.optimizer
            && sgd.nesterov
            && sgd.momentum == 0.0
        {
            let place = path!["optimizer", "sgd", "nesterov"];
            let message = "`nesterov` looks ahead along the momentum, and there is none";
            cx.report(Problem::error("unused-param", place, message).help("say `momentum: 0.9`"));
        }
        if let Some(early) = self.early_stopping
            && early.patience >= self.epochs
        {
            let message = format!(
                "training is over after {} epochs, before it can wait for {}",
                self.epochs, early.patience
            );
            cx.report(
                Problem::warning(
                    "without-effect",
                    path!["early_stopping", "patience"],
                    message,
                )
                .help("raise `epochs`; stopping early ends most trainings before"),
            );
        }
    }

    /// With this loss and, where the params name none, this seed.
    pub(crate) fn course(
        &self,
        loss: Loss,
        augment: Option<Augmentation>,
        seed: u64,
        threads: usize,
    ) -> Course {
        let otherwise = match self.early_stopping {
            Some(_) => Keep::Best,
            None => Keep::Last,
        };
        Course {
            loss,
            optimizer: self.optimizer,
            schedule: self.schedule,
            warmup: self.warmup,
            early_stopping: self.early_stopping,
            keep: self.keep.unwrap_or(otherwise),
            clip_norm: self.clip_norm,
            augment,
            epochs: self.epochs,
            batch_size: self.batch_size,
            seed: self.seed.unwrap_or(seed),
            threads,
            device: self.device,
            precision: self.precision,
        }
    }
}

/// What a network learns: classes or numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Task {
    /// Numbers where the target is real numbers or lists of them; classes where it is text, true or false, or whole numbers whose
    /// classes are known before any row is read (as `source.idx` tells them). Other whole numbers could be either: say which.
    #[default]
    Auto,
    /// Classes.
    Classification,
    /// Numbers.
    Regression,
}

/// A loss of either task: a name, or a map with settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum AnyLoss {
    SparseCategoricalCrossentropy,
    BinaryCrossentropy,
    Focal(Focal),
    MeanSquaredError,
    MeanAbsoluteError,
    Huber(Huber),
    Quantile(Quantile),
}

crate::protocol::by_name! { AnyLoss, "a loss", "What training makes small: a name, or a map with the name as its one key and settings as value.", {
    "sparse_categorical_crossentropy" => SparseCategoricalCrossentropy,
    "binary_crossentropy" => BinaryCrossentropy,
    "focal" => Focal(Focal),
    "mean_squared_error" => MeanSquaredError,
    "mean_absolute_error" => MeanAbsoluteError,
    "huber" => Huber(Huber),
    "quantile" => Quantile(Quantile),
} }

impl AnyLoss {
    fn name(self) -> &'static str {
        match self {
            Self::SparseCategoricalCrossentropy => "sparse_categorical_crossentropy",
            Self::BinaryCrossentropy => "binary_crossentropy",
            Self::Focal(_) => "focal",
            Self::MeanSquaredError => "mean_squared_error",
            Self::MeanAbsoluteError => "mean_absolute_error",
            Self::Huber(_) => "huber",
            Self::Quantile(_) => "quantile",
        }
    }

    /// As the loss of a classifier; none where it is none.
    pub(crate) fn of_classes(self) -> Option<ClassLoss> {
        match self {
            Self::SparseCategoricalCrossentropy => Some(ClassLoss::SparseCategoricalCrossentropy),
            Self::BinaryCrossentropy => Some(ClassLoss::BinaryCrossentropy),
            Self::Focal(focal) => Some(ClassLoss::Focal(focal)),
            _ => None,
        }
    }

    /// As the loss of a regression; none where it is none.
    pub(crate) fn of_numbers(self) -> Option<NumberLoss> {
        match self {
            Self::MeanSquaredError => Some(NumberLoss::MeanSquaredError),
            Self::MeanAbsoluteError => Some(NumberLoss::MeanAbsoluteError),
            Self::Huber(huber) => Some(NumberLoss::Huber(huber)),
            Self::Quantile(quantile) => Some(NumberLoss::Quantile(quantile)),
            _ => None,
        }
    }

    /// Reports a loss of the other task. Whether it is one of this.
    pub(crate) fn check(self, task: Task, cx: &mut CheckContext<'_>) -> bool {
        let (fits, what, help) = match task {
            Task::Regression => (
                self.of_numbers().is_some(),
                "numbers",
                "use `mean_squared_error`, `mean_absolute_error`, `huber` or `quantile`; or say `task: classification`",
            ),
            _ => (
                self.of_classes().is_some(),
                "classes",
                "use `sparse_categorical_crossentropy`, `binary_crossentropy` or `focal`; or say `task: regression`",
            ),
        };
        if !fits {
            let message = format!(
                "`{}` is no loss for {what}, which are learned here",
                self.name()
            );
            let place: ParamPath = path!["loss"];
            cx.report(Problem::error("loss-of-other-task", place, message).help(help));
        }
        fits
    }
}
