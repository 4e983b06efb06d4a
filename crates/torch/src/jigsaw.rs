//! `model.torch.jigsaw`: a network that learns what images are made of, without labels.

use polars::prelude::{Column as PolarsColumn, DataFrame, DataType};
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, FitContext, Frame, Model, ParamPath, Predictor, Problem, Result,
    Schema, Shape, Stage, State, classifier, path, register_kind,
};

use crate::{
    arrays::{Input, Wanted, array_column, image_shape},
    bridge,
    layers::{Activation, Conv, Dense, Layer, Padding, Pool, Tiles, tile, walk},
    lesson::{self, Rows, Truth, check_library, row_weights, with_tensors},
    protocol::{Array, Device, Epoch, Load, Loss, Network, Orders},
    runtime,
    settings::network_params,
};

const VERSION: u32 = 1;

/// The column with what the network sees in an image.
const CODE: &str = "code";

network_params! { epochs: "crate::settings::twenty", batch_size: "crate::settings::thirty_two",
/// A convolutional network that learns what images are made of by solving jigsaw puzzles, without labels; trained by libtorch.
///
/// Each image is cut into `grid` × `grid` tiles, which are put in one of `orders` orders, drawn anew each time; the tiles go
/// through the same convolutions, and dense layers tell the order from what those see (Noroozi and Favaro, 2016). The orders
/// differ from each other in as many places as can be found. To solve such puzzles the convolutions must know parts of things:
/// what they learned serves where labels are few. `model.torch.cnn` starts from it with `initial_weights: FILE`, the state of
/// this stage in `states/` of a bundle, where its first layers are these `layers`; or a model below learns from `code`.
///
/// The input is an array column of shape height × width × channels whose numbers are scaled (`features.image`), and the grid
/// divides height and width. There is no target. With a validation part, loss and the share of puzzles solved there are shown
/// after each epoch. The same seed gives the same weights, to the bit, on one machine with one number of cores.
///
/// Adds `code`: the mean of each channel of the last convolution over the whole image.
struct Jigsaw {
    /// The image column; the only array column, where not given.
    input: Option<String>,
    /// The layers of a tile, first to last: convolutions and poolings. Where not given: conv 32, pool, conv 64, with `padding: same`.
    #[schemars(length(min = 1, max = 1000))]
    layers: Option<Vec<Layer>>,
    /// Tiles along each side.
    #[serde(default = "two")]
    #[schemars(range(min = 2, max = 8))]
    grid: usize,
    /// How many orders there are to tell apart.
    #[serde(default = "twenty_four")]
    #[schemars(range(min = 2, max = 5000))]
    orders: usize,
    /// Units of the dense layer that puts together what is seen of the tiles.
    #[serde(default = "hundred_twenty_eight")]
    #[schemars(range(min = 1, max = 65536))]
    hidden: usize,
}
}

fn two() -> usize {
    2
}

fn twenty_four() -> usize {
    24
}

fn hundred_twenty_eight() -> usize {
    128
}

register_kind! {
    Jigsaw, "model.torch.jigsaw", version: 1,
    example: "- model.torch.jigsaw: {grid: 2, orders: 24, epochs: 10}",
}

/// What is learned, as it is stored beside the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Learned {
    input: Input,
    /// The layers of a tile over a whole image, and the mean of each channel.
    network: Network,
    device: Device,
    history: Vec<Epoch>,
    epoch: u64,
}

impl Jigsaw {
    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            named: self.input.as_deref(),
            what: "image",
            source: "read images with `source.images` or `source.idx`, or say `input: NAME`",
        }
    }

    fn layers(&self) -> Vec<Layer> {
        let conv = |filters| {
            Layer::Conv(Conv {
                filters,
                kernel: 3,
                stride: 1,
                padding: Padding::Same,
                activation: Activation::Relu,
            })
        };
        self.layers.clone().unwrap_or_else(|| {
            vec![
                conv(32),
                Layer::MaxPool(Pool { size: 2, stride: 2 }),
                conv(64),
            ]
        })
    }

    /// The network that solves puzzles of such images.
    fn solver(&self, image: &[usize]) -> Network {
        let mut layers = self.layers();
        layers.push(Layer::Flatten);
        let dense = |units, activation| Layer::Dense(Dense { units, activation });
        Network {
            input: image.to_vec(),
            layers: vec![
                Layer::Tiles(Tiles {
                    grid: self.grid,
                    layers,
                }),
                dense(self.hidden, Activation::Relu),
                dense(self.orders, Activation::Softmax),
            ],
        }
    }

    /// The network that says what it sees of a whole image.
    fn viewer(&self, image: &[usize]) -> Network {
        let mut layers = self.layers();
        layers.push(Layer::GlobalAveragePool);
        Network {
            input: image.to_vec(),
            layers,
        }
    }

    fn check_layers(&self, image: &[usize], cx: &mut CheckContext<'_>) -> Option<usize> {
        let Some(tile) = tile(image, self.grid) else {
            let message = format!(
                "a grid of {0}×{0} does not divide images of {1}×{2}",
                self.grid, image[0], image[1]
            );
            cx.report(
                Problem::error("grid-does-not-divide", path!["grid"], message)
                    .help("use another `grid`, or resize the images with `features.image`"),
            );
            return None;
        };
        let layers = self.layers();
        let walked = walk(&tile, &layers);
        for fault in &walked.faults {
            let mut problem = lesson::layer_problem(fault, &walked, &layers);
            if self.layers.is_none() {
                problem.path = ParamPath::kind();
            }
            cx.report(problem.note(format!("each of the tiles is {tile:?}")));
        }
        match walked.output() {
            Some([_, _, channels]) => {
                let most = (1..=self.grid * self.grid)
                    .try_fold(1_usize, |product, place| product.checked_mul(place));
                if let Some(most) = most.filter(|most| self.orders > *most) {
                    let message = format!(
                        "{} tiles can be put in {most} orders, not in {}",
                        self.grid * self.grid,
                        self.orders
                    );
                    cx.report(Problem::error("out-of-range", path!["orders"], message));
                }
                Some(*channels)
            }
            Some(_) => {
                cx.report(
                    Problem::error(
                        "layer-shape",
                        path!["layers", layers.len() - 1],
                        "the layers of a tile end in an image: height, width, channels",
                    )
                    .help("leave `flatten` and `dense` out; this kind adds its own"),
                );
                None
            }
            None => None,
        }
    }
}

impl Stage for Jigsaw {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        check_library(cx);
        self.settings().check_with(input, cx);
        let channels = self
            .wanted()
            .check(input, None, cx)
            .and_then(|(column, own)| {
                let image = image_shape(&own);
                if image.is_none() {
                    let message = format!(
                        "`{}` has shape {own:?}, but an image is height, width, channels",
                        column.name
                    );
                    cx.report(Problem::error(
                        "not-an-image",
                        self.wanted().place(),
                        message,
                    ));
                }
                self.check_layers(&image?, cx)
            });
        let dtype = DataType::Array(Box::new(DataType::Float64), channels.unwrap_or(1));
        let mut output = classifier::with_outputs(input, None, vec![Column::new(CODE, dtype)], cx);
        output.incomplete |= channels.is_none();
        // It is made to be learned from.
        if let Some(code) = output.columns.iter_mut().find(|column| column.name == CODE) {
            code.role = taktline_core::Role::Feature;
        }
        output.facts = input.facts.clone();
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Jigsaw {
    fn features(&self, input: &Schema) -> Vec<String> {
        self.wanted()
            .find(input, None)
            .map(|column| column.name.clone())
            .into_iter()
            .collect()
    }

    fn target(&self, _: &Schema) -> Option<String> {
        None
    }

    fn allow_pii(&self) -> bool {
        self.allow_pii
    }

    fn fit(
        &self,
        train: &Frame,
        validation: Option<&Frame>,
        cx: &mut FitContext<'_>,
    ) -> Result<State> {
        let missing = || Error::data("the training rows have no image of height, width, channels");
        let column = self
            .wanted()
            .find(&train.schema, None)
            .ok_or_else(missing)?;
        let (own, _) = column.array().ok_or_else(missing)?;
        let image = image_shape(&own).ok_or_else(missing)?;
        let input = Input::Array {
            column: column.name.clone(),
            shape: own,
        };
        let inputs = input.rows(&train.data)?;
        let weights = row_weights(train)?;
        let rows = Rows {
            inputs: &inputs,
            truth: &Truth::Itself,
            weights: weights.as_deref(),
        };
        let held_out = validation
            .filter(|frame| frame.data.height() > 0)
            .map(|frame| input.rows(&frame.data))
            .transpose()?;
        let held_out = held_out.as_ref().map(|inputs| Rows {
            inputs,
            truth: &Truth::Itself,
            weights: None,
        });
        let loss = Loss::Order(Orders {
            grid: self.grid,
            count: self.orders,
        });
        let course = self
            .settings()
            .course(loss, None, cx.seed, runtime::threads());
        let device = course.device;
        let solver = self.solver(&image);
        let (_, trained, tensors) =
            lesson::train(solver, course, &rows, held_out.as_ref(), &[], cx)?;
        let learned = Learned {
            input,
            network: self.viewer(&image),
            device,
            history: trained.history,
            epoch: trained.epoch,
        };
        // Named as in a network that sees whole images, so that one can start from them.
        let seeing: Vec<Array<'static>> = tensors
            .0
            .into_iter()
            .filter_map(|array| {
                let name = array.name.strip_prefix("0.tiles.")?.to_owned();
                Some(Array { name, ..array })
            })
            .collect();
        Ok(with_tensors(State::from_data(VERSION, &learned)?, &seeing))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        let learned: Learned = state.data(VERSION)?;
        let request = Load {
            network: learned.network.clone(),
            threads: runtime::threads(),
            device: learned.device,
            draws: None,
        };
        let model = lesson::open(&request, state)?;
        Ok(Box::new(Viewer { learned, model }))
    }
}

struct Viewer {
    learned: Learned,
    model: bridge::Model,
}

impl Predictor for Viewer {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let network = &self.learned.network;
        let walked = walk(&network.input, &network.layers);
        let length: usize = walked.output().unwrap_or_default().iter().product();
        let rows = batch.height();
        let answers = lesson::answers(&self.model, &self.learned.input, batch)?;
        let code = lesson::numbers(&answers, "outputs", rows * length)?;
        Ok(vec![array_column(CODE, code, length)?])
    }
}
