//! How many GPUs a demand needs: of one board, or of the cheapest mix of several.

use std::time::Instant;

use rayon::prelude::*;

use super::baselines;
use super::comparison::{self, Frontier, FrontierPoint};
use crate::demand::Demand;
use crate::demand::over_time::OverTime;
use crate::error::{Error, ExitCode, Result};
use crate::fleet::price::{Price, cost};
use crate::fleet::{Fleet, MAX_GPUS, Node};
use crate::hardware::BoardRef;
use crate::optimise::fewest::{self, ToServe};
use crate::optimise::problem::Problem;
use crate::optimise::{self, PlanOptions, explain};
use crate::plan::{Status, Unplaced};
use crate::text::thousands;
use crate::units::{Percent, Weight};

/// The fewest GPUs of one board for a demand.
#[derive(Debug, Clone)]
pub struct Sizing {
    /// The board.
    pub board: BoardRef,
    /// GPUs that serve everything that the board can serve.
    pub gpus: u64,
    /// The fewest nodes with those GPUs, where some replica takes several GPUs of one node.
    pub nodes: Option<u64>,
    /// [`Status::Optimal`] where it is proved that fewer will not do, else why it is not.
    pub status: Status,
    /// What the board cannot serve at all, however many there are.
    pub unserved: Vec<Unplaced>,
    /// The most that fits on fewer GPUs, up to `gpus`.
    pub steps: Frontier,
}

/// The cheapest GPUs of several boards for a demand.
#[derive(Debug, Clone)]
pub struct SizingMix {
    /// GPUs of each board, by board id.
    pub boards: Vec<MixBoard>,
    /// The price of all of them, in millionths.
    pub cost: u128,
    /// [`Status::Optimal`] where it is proved that nothing cheaper will do, else why it is not.
    pub status: Status,
    /// What none of the boards can serve.
    pub unserved: Vec<Unplaced>,
}

/// One board of a mix.
#[derive(Debug, Clone)]
pub struct MixBoard {
    /// The board.
    pub board: BoardRef,
    /// GPUs of it.
    pub gpus: u64,
    /// The price of one, in millionths.
    pub price: i64,
}

impl Sizing {
    /// Memory of the GPUs of a point that serves no demand, in MiB.
    pub fn idle_mib(&self, point: &FrontierPoint) -> u64 {
        point.gpus.saturating_mul(self.board.memory.0).saturating_sub(point.placed_mib)
    }
}

impl MixBoard {
    /// The price of its GPUs, in millionths.
    pub fn cost(&self) -> u128 {
        cost(self.gpus, self.price)
    }
}

/// The fewest GPUs of each board that serve all of the demand that it can serve; boards one by
/// one, on nodes of `gpus_per_node` where replicas take several GPUs of a node.
///
/// # Errors
/// More than [`MAX_GPUS`] needed (exit 3); nothing found within the time limit (exit 5).
pub fn size(
    demand: &Demand,
    boards: &[BoardRef],
    gpus_per_node: usize,
    options: &PlanOptions,
) -> Result<Vec<Sizing>> {
    boards.par_iter().map(|board| size_one(demand, board, gpus_per_node, options)).collect()
}

fn size_one(
    demand: &Demand,
    board: &BoardRef,
    gpus_per_node: usize,
    options: &PlanOptions,
) -> Result<Sizing> {
    let boards = std::slice::from_ref(board);
    let problem = Problem::new(demand, &plenty(demand, boards, gpus_per_node), options);
    let unserved = unserved(demand, boards, &problem, gpus_per_node);
    let cheapest = fewest::cheapest(&problem, problem.servable(demand), &[1], options)?
        .ok_or_else(|| too_many(board))?;
    let gpus: u64 = cheapest.gpus.iter().sum();
    let several = several(demand);
    let (nodes, close) = if several && gpus > 0 {
        let nodes = fewest_nodes(demand, board, gpus, gpus_per_node, options)?;
        // So many nodes carry any number of these GPUs as freely as more nodes would.
        (nodes, fleet(boards, gpus_per_node, gpus as usize))
    } else {
        (None, fleet(boards, gpus as usize, 1))
    };
    let mut steps = Frontier { points: Vec::new(), complete: true };
    if gpus > 0 {
        let problem = Problem::new(demand, &close, options);
        steps = comparison::up_to(&problem, &baselines::priorities(demand), gpus, options)?;
    }
    Ok(Sizing { board: board.clone(), gpus, nodes, status: cheapest.status, unserved, steps })
}

/// The cheapest GPUs of several boards that serve all that any of them can serve; of equally cheap
/// ones the fewest.
///
/// # Errors
/// As [`size`].
pub fn size_mix(
    demand: &Demand,
    prices: &[Price],
    gpus_per_node: usize,
    options: &PlanOptions,
) -> Result<SizingMix> {
    let mut prices = prices.to_vec();
    prices.sort_by(|a, b| a.board.id.cmp(&b.board.id));
    let boards: Vec<BoardRef> = prices.iter().map(|p| p.board.clone()).collect();
    let problem = Problem::new(demand, &plenty(demand, &boards, gpus_per_node), options);
    let each: Vec<i64> = prices.iter().map(|p| p.price).collect();
    let first = boards.first().ok_or_else(|| Error::internal("a mix of no boards"))?;
    let cheapest = fewest::cheapest(&problem, problem.servable(demand), &each, options)?
        .ok_or_else(|| too_many(first))?;
    let cost = each.iter().zip(&cheapest.gpus).map(|(p, n)| *p as u128 * u128::from(*n)).sum();
    Ok(SizingMix {
        cost,
        status: cheapest.status,
        unserved: unserved(demand, &boards, &problem, gpus_per_node),
        boards: prices
            .into_iter()
            .zip(cheapest.gpus)
            .map(|(p, gpus)| MixBoard { board: p.board, gpus, price: p.price })
            .collect(),
    })
}

/// The fewest GPUs of each board, partitioned once for all hours, whose best plan serves at least this
/// share of the weight-hours of each priority that the board can serve at all. That plan serves all
/// that it can of a priority before the next one.
///
/// # Errors
/// As [`size`]; also replicas of several whole GPUs (exit 2).
pub fn size_over_time(
    demand: &OverTime,
    boards: &[BoardRef],
    Percent(share): Percent,
    options: &PlanOptions,
) -> Result<Vec<Sizing>> {
    optimise::over_time::refuse(demand, options)?;
    let size = |board: &BoardRef| {
        let boards = std::slice::from_ref(board);
        let problem = Problem::over_time(demand, &plenty(demand.peak(), boards, 1), options);
        let (gpus, status) = fewest_of_best_plan(demand, board, &problem, share, options)?;
        Ok(Sizing {
            board: board.clone(),
            gpus,
            nodes: None,
            status,
            // Replicas of several whole GPUs cannot be planned over time.
            unserved: unserved(demand.peak(), boards, &problem, 1),
            steps: Frontier { points: Vec::new(), complete: true },
        })
    };
    boards.par_iter().map(size).collect()
}

/// The fewest GPUs whose best plan serves the share (in millionths), and the status of the proof that
/// no fewer are enough. `problem` has plenty of them.
///
/// With more GPUs the best plan may serve less of a lower priority: a replica of a higher one that now
/// has room may displace some. So every number is looked at from below, but for those that cannot be
/// enough: what is to be served and what the best plan serves at least, in whatever order, needs more.
///
/// # Errors
/// As [`size_over_time`].
fn fewest_of_best_plan(
    demand: &OverTime,
    board: &BoardRef,
    problem: &Problem,
    share: u64,
    options: &PlanOptions,
) -> Result<(u64, Status)> {
    let start = Instant::now();
    let in_time = || {
        let left = options.time_limit.map(|limit| limit.saturating_sub(start.elapsed()));
        PlanOptions { time_limit: left, ..options.clone() }
    };
    let to_serve = ToServe::share(problem, share);
    let best = |gpus: u64| {
        let options = in_time();
        let fleet = fleet(std::slice::from_ref(board), gpus as usize, 1);
        let problem = Problem::over_time(demand, &fleet, &options);
        to_serve.served_by_best(&problem, &options)
    };
    let most = demand.peak().replicas().min(MAX_GPUS);
    let mut at_least = to_serve.clone();
    let (mut next, mut status) = (0, Status::Optimal);
    let is_over = |status| matches!(status, Status::TimeLimit | Status::Interrupted);
    loop {
        let fewest = match fewest::fewest_to_serve(problem, &at_least, &in_time()) {
            Err(e) if e.code == ExitCode::TimeLimit && next > 0 => break,
            found => found?.ok_or_else(|| too_many(board))?,
        };
        let gpus = fewest.gpus.iter().sum::<u64>().max(next);
        status = status.and(fewest.status);
        // Of one priority the best plan serves the most, and where all is served the order is no matter.
        if gpus == 0 || to_serve.priorities() == 1 || share == Weight::SCALE {
            return Ok((gpus, status));
        }
        let best = best(gpus)?;
        status = status.and(best.status);
        if to_serve.is_served_by(&best) {
            return Ok((gpus, status));
        }
        next = gpus + 1;
        if is_over(fewest.status) || is_over(best.status) || next > most {
            break;
        }
        at_least.raise(&best);
    }
    // Time is up: some number that is enough, in steps that double, and then between. What is between
    // may be enough where this does not look, and nothing is said of it.
    let is_enough = |gpus: u64| Ok::<_, Error>(to_serve.is_served_by(&best(gpus)?));
    let (mut too_few, mut gpus, mut step) = (next - 1, next.min(most), 1);
    while !is_enough(gpus)? {
        if gpus >= most {
            let message = "no number of GPUs that is enough was found in time";
            return Err(Error::new(ExitCode::TimeLimit, message));
        }
        too_few = gpus;
        gpus = (gpus + step).min(most);
        step *= 2;
    }
    while gpus - too_few > 1 {
        let middle = too_few + (gpus - too_few) / 2;
        if is_enough(middle)? { gpus = middle } else { too_few = middle }
    }
    Ok((gpus, status.and(Status::TimeLimit)))
}

/// What the boards cannot serve however many there are, `gpus_per_node` on a node.
fn unserved(
    demand: &Demand,
    boards: &[BoardRef],
    problem: &Problem,
    gpus_per_node: usize,
) -> Vec<Unplaced> {
    explain::out_of_reach(demand, boards, problem, &|_| gpus_per_node as u64)
}

fn too_many(board: &BoardRef) -> Error {
    let message = format!("the demand needs more than {} GPUs", thousands(MAX_GPUS));
    Error::new(ExitCode::BadInput, message)
        .hint(format!("look at the counts of the workloads; the board is {}", board.id))
}

/// Whether some replica takes several GPUs, so that nodes matter.
fn several(demand: &Demand) -> bool {
    demand.workloads().iter().any(|w| w.whole_gpus > 1 && w.count > 0)
}

/// More GPUs of each board than the demand can use: one to a replica, or a node to a replica.
fn plenty(demand: &Demand, boards: &[BoardRef], gpus_per_node: usize) -> Fleet {
    let most = (MAX_GPUS / boards.len().max(1) as u64) as usize;
    let replicas = usize::try_from(demand.replicas()).unwrap_or(most).max(1);
    if several(demand) {
        fleet(boards, gpus_per_node, replicas.min(most / gpus_per_node.max(1)))
    } else {
        fleet(boards, replicas.min(most), 1)
    }
}

/// `nodes` nodes of `gpus` GPUs for each board.
fn fleet(boards: &[BoardRef], gpus: usize, nodes: usize) -> Fleet {
    let of_board = |board: &BoardRef| {
        let node = Node::new(String::new(), vec![board.clone(); gpus]);
        std::iter::repeat_n(node, nodes)
    };
    Fleet::new(boards.iter().flat_map(of_board).collect())
}

/// The fewest nodes that serve everything, `None` where time runs out.
fn fewest_nodes(
    demand: &Demand,
    board: &BoardRef,
    gpus: u64,
    gpus_per_node: usize,
    options: &PlanOptions,
) -> Result<Option<u64>> {
    let enough = |nodes: u64| {
        let fleet = fleet(std::slice::from_ref(board), gpus_per_node, nodes as usize);
        let problem = Problem::new(demand, &fleet, options);
        match fewest::cheapest(&problem, problem.servable(demand), &[1], options) {
            Err(e) if e.code == ExitCode::TimeLimit => Ok(None),
            found => found.map(|found| Some(found.is_some())),
        }
    };
    // Almost always the nodes that the GPUs fill are enough. The fewest GPUs may be spread thin,
    // so step up, and then look between.
    let mut low = gpus.div_ceil(gpus_per_node.max(1) as u64);
    let (mut high, mut step) = (low, 1);
    loop {
        match enough(high)? {
            Some(true) => break,
            Some(false) if high <= MAX_GPUS => {}
            _ => return Ok(None),
        }
        low = high + 1;
        high += step;
        step *= 2;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        match enough(middle)? {
            Some(true) => high = middle,
            Some(false) => low = middle + 1,
            None => return Ok(None),
        }
    }
    Ok(Some(high))
}
