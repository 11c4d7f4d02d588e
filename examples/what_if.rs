//! What would one more GPU serve, and what if a workload needed less memory?
//!
//! `cargo run --example what_if`
#![allow(clippy::print_stdout, reason = "an example shows its result")]

use migplan::demand::{Demand, Workload};
use migplan::error::Result;
use migplan::hardware::Catalogue;
use migplan::optimise::{self, PlanOptions};
use migplan::units::Mebibytes;
use migplan::{compare, fleet};

/// 80 GiB models, 18 GiB fine-tunes and 9 GiB notebooks; the fine-tunes need `finetune_gib`.
fn demand(finetune_gib: u64) -> Demand {
    let gib = |gib: u64| Mebibytes(gib * 1024);
    Demand::new(vec![
        Workload::new("recommendation", "train", gib(38), 3),
        Workload::new("research", "finetune", gib(finetune_gib), 7),
        Workload::new("research", "notebook", gib(9), 9),
    ])
}

fn main() -> Result<()> {
    let catalogue = Catalogue::built_in();
    let options = PlanOptions::default();
    let placed = |gpus: u32, demand: &Demand| -> Result<String> {
        let fleet = fleet::spec::parse(&format!("{gpus}xa100-80gb"), "GPUS", &catalogue)?;
        let totals = optimise::suggest(demand, &fleet, &options)?.totals;
        let idle = Mebibytes(totals.idle_mib).human();
        Ok(format!("{} of {} replicas, {idle} idle", totals.placed, totals.replicas))
    };

    println!("on 3 GPUs: {}", placed(3, &demand(20))?);
    println!("on 4 GPUs: {}", placed(4, &demand(20))?);
    println!("on 3 GPUs, fine-tunes of 18 GiB: {}", placed(3, &demand(18))?);

    let boards: Vec<_> = ["a100-80gb", "h200"]
        .iter()
        .filter_map(|name| catalogue.find(name, None).ok().cloned())
        .collect();
    for sizing in compare::size(&demand(18), &boards, 8, &options)? {
        println!("all of it, fine-tunes of 18 GiB: {} × {}", sizing.gpus, sizing.board.id);
    }
    Ok(())
}
