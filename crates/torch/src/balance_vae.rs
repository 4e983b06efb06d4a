//! `balance.vae`: training rows of rare classes, drawn from variational autoencoders.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Checkpoints, Error, Estimator, FitContext, Frame, Operation, Problem,
    ProgressEvent, Result, Schema, Shape, Stage, State, TensorData, counted, path, register_kind,
};

use crate::{
    layers::Activation,
    lesson::{self, Rows, Truth, check_library, with_tensors},
    protocol::{Array, Load, Loss, Network},
    runtime,
    settings::network_params,
    synthesis::{self, Asked, Material},
    vae,
};

const VERSION: u32 = 1;
const NAME: &str = "balance.vae";

/// Raised when checkpoints change.
const CHECKPOINT_VERSION: u32 = 1;

/// The tensor of a checkpoint with the rows that are made up already.
const MADE_UP: &str = "made_up";

/// That with the checkpoint of the training under way.
const TRAINING: &str = "training";

/// Rows that a class needs at least: fewer say nothing about how its rows are distributed.
const FEWEST: usize = 10;

network_params! { epochs: "crate::settings::hundred", batch_size: "crate::settings::thirty_two",
/// Make up training rows of the smaller classes by variational autoencoders, trained by libtorch: one for each class that lacks
/// rows.
///
/// Each learns how the rows of its class are distributed (see `model.torch.vae`; Kingma and Welling, 2014): a code is drawn from
/// the standard normal distribution, and made into a row; numbers are drawn around what the decoder says, as far as `deviation`
/// has them lie. That is quicker than `balance.gan` and needs fewer rows, at least ten a class, but blurs what depends on several
/// columns. Each class gets at least `ratio` times as many training rows as the largest has.
///
/// Numbers with common values or heavy tails are learned through their distribution (all classes counting the same), so that values
/// that many rows have come back as they are; others are scaled. Nothing beyond the smallest and largest value is made up; whole
/// numbers are rounded. Text, truth values and
/// whole numbers named in `categories` are drawn as categories, arrays of real numbers as they are.
///
/// New rows stand after all others, in the training part. A column with role `weight` has the mean weight of the class; columns
/// that are no features are null. Null and not-a-number in a feature are an error. Rows for validation and testing stay as they
/// are; scoring does not make anything up. Needs a `split.*` above. Whether it helps, the held-out rows tell: compare with
/// `balance.smote` and `class_weight`.
struct BalanceVae {
    /// The column whose classes are balanced; default: the column with the role `target`.
    target: Option<String>,
    /// How many rows a class has at least, as a share of the largest class.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    ratio: f64,
    /// Columns of whole numbers that are categories, not amounts.
    #[serde(default)]
    categories: Vec<String>,
    /// Units of each layer on the way to the code; the way back has the same in reverse order.
    #[serde(default = "one_of_64")]
    #[schemars(length(max = 100), inner(range(min = 1, max = 65536)))]
    hidden: Vec<usize>,
    /// Numbers of the code.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 4096))]
    bottleneck: usize,
    /// How far a number usually lies from what the decoder says of it: its standard deviation, where the column's own is 1.
    #[serde(default = "third")]
    #[schemars(range(min = 1e-3, max = 1e3))]
    deviation: f64,
    /// How much the divergence of the code counts.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0, max = 1e3))]
    beta: f64,
}
}

fn one() -> f64 {
    1.0
}

fn third() -> f64 {
    0.3
}

fn one_of_64() -> Vec<usize> {
    vec![64]
}

fn eight() -> usize {
    8
}

register_kind! {
    BalanceVae, "balance.vae", version: 1,
    example: "- balance.vae: {target: is_fraud, ratio: 0.1, epochs: 200, seed: 7}",
}

/// What an interrupted run had done.
#[derive(Debug, Default, PartialEq)]
struct Done {
    /// The class whose network was being trained.
    class: usize,
    /// Rows of the classes before it.
    made_up: Vec<f32>,
    /// The checkpoint of that training.
    training: Option<Vec<u8>>,
}

/// A checkpoint but for its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Standing {
    class: usize,
}

impl Done {
    /// What an earlier run of the same left, if that can be read.
    fn before(material: &Material, cx: &FitContext<'_>) -> Self {
        let Some(bytes) = cx.checkpoints.load() else {
            return Self::default();
        };
        match Self::read(&bytes, material) {
            Ok(done) => {
                let rows = done
                    .made_up
                    .len()
                    .checked_div(material.width)
                    .unwrap_or_default();
                if rows > 0 {
                    cx.progress.event(ProgressEvent::Message(format!(
                        "{} of other classes come from the checkpoint",
                        counted(rows, "row")
                    )));
                }
                done
            }
            Err(error) => {
                cx.progress.event(ProgressEvent::Message(format!(
                    "the checkpoint cannot be used ({error}); training starts again"
                )));
                Self::default()
            }
        }
    }

    fn read(bytes: &[u8], material: &Material) -> Result<Self> {
        let state = State::from_bytes(bytes)?;
        let Standing { class } = state.data(CHECKPOINT_VERSION)?;
        let (TensorData::F32(made_up), TensorData::U8(training)) =
            (&state.tensor(MADE_UP)?.data, &state.tensor(TRAINING)?.data)
        else {
            return Err(Error::State("its tensors are of another type".into()));
        };
        let rows: usize = material.wanted.iter().take(class).sum();
        if class >= material.wanted.len() || made_up.len() != rows * material.width {
            return Err(Error::State("it is of other rows".into()));
        }
        Ok(Self {
            class,
            made_up: made_up.clone(),
            training: Some(training.clone()),
        })
    }
}

/// The checkpoints of the training for one class: each also holds the rows of the classes before it.
struct OfClass<'a> {
    all: &'a dyn Checkpoints,
    class: usize,
    made_up: &'a [f32],
    /// The checkpoint that an earlier run of this training left.
    earlier: Option<Vec<u8>>,
}

impl Checkpoints for OfClass<'_> {
    fn load(&self) -> Option<Vec<u8>> {
        self.earlier.clone()
    }

    fn save(&self, bytes: &[u8]) -> Result<()> {
        let standing = Standing { class: self.class };
        let made_up = TensorData::F32(self.made_up.to_vec());
        let training = TensorData::U8(bytes.to_vec());
        let state = State::from_data(CHECKPOINT_VERSION, &standing)?
            .with_tensor(MADE_UP, vec![self.made_up.len()], made_up)
            .with_tensor(TRAINING, vec![bytes.len()], training);
        self.all.save(&state.to_bytes()?)
    }
}

impl BalanceVae {
    fn asked(&self) -> Asked<'_> {
        Asked {
            target: self.target.as_deref(),
            ratio: self.ratio,
            categories: &self.categories,
        }
    }

    /// Rows of a class that a network draws which has learned those that there are.
    fn drawn(
        &self,
        material: &Material,
        class: usize,
        checkpoints: &dyn Checkpoints,
        cx: &FitContext<'_>,
    ) -> Result<Vec<f32>> {
        let wanted = material.wanted[class];
        let rows = material.of_class(class);
        let count = rows.len() / material.width.max(1);
        if count < FEWEST {
            return Err(Error::data(format!(
                "the class `{}` has {}; a network needs {FEWEST} to learn how they are distributed (`balance.smote` or `balance.oversample` take fewer)",
                material.class(class),
                counted(count, "training row")
            )));
        }
        cx.progress.event(ProgressEvent::Message(format!(
            "{} of class `{}` from {}",
            counted(wanted, "row"),
            material.class(class),
            counted(count, "real one")
        )));
        let (layers, code) = vae::layers(
            material.width,
            &self.hidden,
            self.bottleneck,
            Activation::Relu,
        );
        let network = Network {
            input: vec![material.width],
            layers,
        };
        let loss = Loss::Evidence {
            deviation: self.deviation,
            beta: self.beta,
        };
        let seed =
            self.seed.unwrap_or(cx.seed) ^ (class as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
        let mut settings = self.settings();
        settings.seed = Some(seed);
        let course = settings.course(loss, None, seed, runtime::threads());
        let device = course.device;
        let own = Rows {
            inputs: &rows,
            truth: &Truth::Itself,
            weights: None,
        };
        let alone = FitContext { checkpoints, ..*cx };
        let (network, _, tensors) = lesson::train(network, course, &own, None, &[], &alone)?;
        let decoder: Vec<Array<'static>> = tensors
            .0
            .into_iter()
            .filter_map(|array| {
                let (layer, rest) = array.name.split_once('.')?;
                let layer = layer.parse::<usize>().ok()?.checked_sub(code)?;
                let name = format!("{layer}.{rest}");
                Some(Array { name, ..array })
            })
            .collect();
        let load = Load {
            network: Network {
                input: vec![self.bottleneck],
                layers: network.layers[code..].to_vec(),
            },
            threads: runtime::threads(),
            device,
            draws: None,
        };
        let state = with_tensors(State::default(), &decoder);
        let model = lesson::open(&load, &state)?;
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut normal = || -> f64 { generator.sample(StandardNormal) };
        let codes: Vec<f32> = (0..wanted * self.bottleneck)
            .map(|_| normal() as f32)
            .collect();
        let codes = Array::f32("inputs", vec![wanted, self.bottleneck], codes);
        let answers = lesson::predict(&model, &[codes])?;
        let means = lesson::numbers(&answers, "outputs", wanted * material.width)?;
        Ok(means
            .iter()
            .map(|mean| (mean + self.deviation * normal()) as f32)
            .collect())
    }
}

impl Stage for BalanceVae {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        check_library(cx);
        self.settings().check(cx);
        if self.allow_pii {
            cx.report(
                Problem::warning(
                    "without-effect",
                    path!["allow_pii"],
                    "personal data is never made up; its columns are null in new rows",
                )
                .help("leave it out"),
            );
        }
        self.asked().check(input, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

impl Estimator for BalanceVae {
    fn fit_reads(&self, input: &Schema) -> BTreeSet<String> {
        self.asked().reads(input)
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        let material = self.asked().material(train)?;
        let Done {
            class: first,
            mut made_up,
            mut training,
        } = Done::before(&material, cx);
        for class in first..material.wanted.len() {
            if material.wanted[class] == 0 {
                continue;
            }
            let checkpoints = OfClass {
                all: cx.checkpoints,
                class,
                made_up: &made_up,
                // Only the first was under way.
                earlier: training.take(),
            };
            let rows = self.drawn(&material, class, &checkpoints, cx)?;
            made_up.extend(rows);
        }
        material.state(VERSION, &made_up)
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = inputs.first().cloned().unwrap_or_default();
        synthesis::operations(NAME, VERSION, state, &input)
    }

    fn keeps_rows(&self) -> bool {
        false
    }

    fn is_training_only(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use polars::df;
    use taktline_core::Role;

    use super::*;

    /// One checkpoint, in memory.
    #[derive(Default)]
    struct Kept(Mutex<Option<Vec<u8>>>);

    impl Checkpoints for Kept {
        fn load(&self) -> Option<Vec<u8>> {
            self.0.lock().expect("a lock").clone()
        }
        fn save(&self, bytes: &[u8]) -> Result<()> {
            *self.0.lock().expect("a lock") = Some(bytes.to_vec());
            Ok(())
        }
    }

    /// Rows of three classes; of `a` one is wanted, of `b` two, of `c` none.
    fn material() -> Material {
        let data = df!(
            "size" => [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "kind" => ["a", "a", "b", "c", "c", "c"],
        )
        .expect("a frame");
        let mut schema = Schema::from_polars(data.schema());
        schema.columns[0].role = Role::Feature;
        schema.columns[1].role = Role::Target;
        let asked = Asked {
            target: None,
            ratio: 1.0,
            categories: &[],
        };
        let material = asked.material(&Frame { data, schema }).expect("material");
        assert_eq!(material.wanted, [1, 2, 0]);
        assert_eq!(material.width, 1);
        material
    }

    #[test]
    fn a_checkpoint_holds_the_rows_of_the_classes_before() {
        let (material, kept) = (material(), Kept::default());
        let cx = FitContext {
            checkpoints: &kept,
            ..FitContext::quiet(7)
        };
        assert_eq!(Done::before(&material, &cx), Done::default());
        for (class, made_up) in [(0, vec![]), (1, vec![0.1_f32])] {
            let own = OfClass {
                all: &kept,
                class,
                made_up: &made_up,
                earlier: None,
            };
            assert_eq!(own.load(), None);
            own.save(b"the first epoch").expect("kept");
            own.save(b"the second epoch").expect("kept");
            let training = Some(b"the second epoch".to_vec());
            let done = Done {
                class,
                made_up: made_up.clone(),
                training: training.clone(),
            };
            assert_eq!(Done::before(&material, &cx), done);
            let resumed = OfClass {
                earlier: training.clone(),
                ..own
            };
            assert_eq!(resumed.load(), training);
        }
    }

    #[test]
    fn what_is_no_checkpoint_of_these_rows_is_not_trusted() {
        let (material, kept) = (material(), Kept::default());
        let cx = FitContext {
            checkpoints: &kept,
            ..FitContext::quiet(7)
        };
        // Rows that are missing, rows too many, a class that there is not.
        for (class, made_up) in [(1, vec![]), (0, vec![0.1_f32]), (3, vec![0.1, 0.2, 0.3])] {
            let own = OfClass {
                all: &kept,
                class,
                made_up: &made_up,
                earlier: None,
            };
            own.save(b"an epoch").expect("kept");
            assert_eq!(Done::before(&material, &cx), Done::default(), "{class}");
        }
        kept.save(b"no checkpoint").expect("kept");
        assert_eq!(Done::before(&material, &cx), Done::default());
    }
}
