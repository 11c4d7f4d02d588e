//! What `migplan size --format json` prints.

use serde::Serialize;

use crate::compare::{FrontierPoint, MixBoard, Sizing, SizingMix};
use crate::fleet::price::Price;
use crate::plan::{Status, Unplaced};
use crate::units::millionths;

/// Schema key of [`SizeDocument`].
pub const SIZE_SCHEMA: &str = "migplan.size/v1";

/// How many GPUs a demand needs.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SizeDocument {
    /// Always [`SIZE_SCHEMA`].
    pub schema: &'static str,
    /// Each board alone, in the order asked for.
    pub boards: Vec<BoardSize>,
    /// The cheapest mix of boards, where prices are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
}

/// The fewest GPUs of one board.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BoardSize {
    /// The board's id.
    pub board: String,
    /// GPUs that serve all that the board can serve.
    pub gpus: u64,
    /// Whether it is proved that no fewer are enough.
    pub proved: bool,
    /// Why it is not proved, as in a plan's proof; `optimal` where it is.
    pub status: Status,
    /// Whether the board can serve the whole demand.
    pub serves_all: bool,
    /// What it cannot serve, however many GPUs there are.
    pub unserved: Vec<Unplaced>,
    /// What fits on fewer GPUs.
    pub steps: Vec<Step>,
    /// Whether there is a step for every number of GPUs.
    pub steps_complete: bool,
    /// Nodes, where a replica takes several GPUs of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u64>,
    /// The price of the GPUs as a decimal, where prices are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
}

/// The most that fits on so many GPUs.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Step {
    /// GPUs.
    pub gpus: u64,
    /// Replicas placed.
    pub placed: u64,
    /// Memory placed, in MiB of demand.
    pub placed_mib: u64,
    /// Memory of those GPUs that serves no demand, in MiB.
    pub idle_mib: u64,
    /// Whether it is proved that no more fits.
    pub proved: bool,
}

/// The cheapest mix of boards.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Mix {
    /// GPUs of each board.
    pub boards: Vec<MixedBoard>,
    /// The price of all as a decimal.
    pub cost: String,
    /// Whether it is proved that nothing cheaper is enough.
    pub proved: bool,
    /// Why it is not proved, as in a plan's proof; `optimal` where it is.
    pub status: Status,
    /// Whether these boards can serve the whole demand.
    pub serves_all: bool,
    /// What none of them can serve.
    pub unserved: Vec<Unplaced>,
}

/// One board of a mix.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MixedBoard {
    /// The board's id.
    pub board: String,
    /// GPUs of it.
    pub gpus: u64,
    /// Their price as a decimal.
    pub cost: String,
}

impl SizeDocument {
    /// The document of sizings, with the prices that were given.
    pub fn new(sizings: &[Sizing], mix: Option<&SizingMix>, prices: &[Price]) -> SizeDocument {
        SizeDocument {
            schema: SIZE_SCHEMA,
            boards: sizings.iter().map(|sizing| BoardSize::new(sizing, prices)).collect(),
            mix: mix.map(Mix::new),
        }
    }
}

impl BoardSize {
    fn new(sizing: &Sizing, prices: &[Price]) -> BoardSize {
        let step = |point: &FrontierPoint| Step {
            gpus: point.gpus,
            placed: point.placed,
            placed_mib: point.placed_mib,
            idle_mib: sizing.idle_mib(point),
            proved: point.proved,
        };
        BoardSize {
            board: sizing.board.id.clone(),
            gpus: sizing.gpus,
            proved: sizing.status == Status::Optimal,
            status: sizing.status,
            serves_all: sizing.unserved.is_empty(),
            unserved: sizing.unserved.clone(),
            steps: sizing.steps.points.iter().map(step).collect(),
            steps_complete: sizing.steps.complete,
            nodes: sizing.nodes,
            cost: Price::of(prices, &sizing.board)
                .map(|price| millionths(price.of_gpus(sizing.gpus))),
        }
    }
}

impl Mix {
    fn new(mix: &SizingMix) -> Mix {
        let board = |b: &MixBoard| MixedBoard {
            board: b.board.id.clone(),
            gpus: b.gpus,
            cost: millionths(b.cost()),
        };
        Mix {
            boards: mix.boards.iter().map(board).collect(),
            cost: millionths(mix.cost),
            proved: mix.status == Status::Optimal,
            status: mix.status,
            serves_all: mix.unserved.is_empty(),
            unserved: mix.unserved.clone(),
        }
    }
}
