//! Boards typed by hand from NVIDIA's MIG user guide, so that no table of the product checks itself,
//! and their layouts found by trying everything. Also what the benches take their boards from.
use std::collections::BTreeSet;

/// A profile as the guide prints it: name, compute slices, memory slices, starts, usable MiB.
pub type Typed = (&'static str, u32, u32, &'static [u32], u64);

/// A100-80GB without media profiles.
pub const A100_80GB: &[Typed] = &[
    ("1g.10gb", 1, 1, &[0, 1, 2, 3, 4, 5, 6], 9_728),
    ("1g.20gb", 1, 2, &[0, 2, 4, 6], 19_968),
    ("2g.20gb", 2, 2, &[0, 2, 4], 19_968),
    ("3g.40gb", 3, 4, &[0, 4], 40_192),
    ("4g.40gb", 4, 4, &[0], 40_192),
    ("7g.80gb", 7, 8, &[0], 80_640),
];

/// Its media profile; at most one on a GPU.
pub const A100_80GB_MEDIA: Typed = ("1g.10gb+me", 1, 1, &[0, 1, 2, 3, 4, 5, 6], 9_728);

/// A30 without media profiles.
pub const A30: &[Typed] = &[
    ("1g.6gb", 1, 1, &[0, 1, 2, 3], 5_952),
    ("2g.12gb", 2, 2, &[0, 2], 11_968),
    ("4g.24gb", 4, 4, &[0], 24_000),
];

/// Its media profiles; at most one of them on a GPU.
pub const A30_MEDIA: &[Typed] =
    &[("1g.6gb+me", 1, 1, &[0, 1, 2, 3], 5_952), ("2g.12gb+me", 2, 2, &[0, 2], 11_968)];

/// RTX PRO 6000 without attributes.
pub const RTX_PRO_6000: &[Typed] = &[
    ("1g.24gb", 1, 3, &[0, 3, 6, 9], 23_680),
    ("2g.48gb", 2, 6, &[0, 6], 47_616),
    ("4g.96gb", 4, 12, &[0], 95_616),
];

/// Every set of placements without overlap and with at most one `+me`, each as sorted
/// (index, start) pairs: found by trying every placement in turn, nothing cleverer.
pub fn all_layouts(profiles: &[Typed]) -> Vec<Vec<(usize, u32)>> {
    let placements: Vec<(usize, u32)> = profiles
        .iter()
        .enumerate()
        .flat_map(|(i, p)| p.3.iter().map(move |start| (i, *start)))
        .collect();
    let mut found = vec![vec![]];
    for (i, start) in placements {
        let (name, _, size, _, _) = profiles[i];
        let mut with: Vec<Vec<(usize, u32)>> = found
            .iter()
            .filter(|layout: &&Vec<(usize, u32)>| {
                layout.iter().all(|(other, at)| {
                    let (other_name, _, other_size, _, _) = profiles[*other];
                    let apart = start + size <= *at || at + other_size <= start;
                    apart && !(name.ends_with("+me") && other_name.ends_with("+me"))
                })
            })
            .map(|layout| {
                let mut layout = layout.clone();
                layout.push((i, start));
                layout.sort_unstable();
                layout
            })
            .collect();
        found.append(&mut with);
    }
    found
}

/// The multisets of those layouts: counts by profile.
pub fn all_multisets(profiles: &[Typed]) -> BTreeSet<Vec<u32>> {
    all_layouts(profiles)
        .iter()
        .map(|layout| {
            let mut counts = vec![0; profiles.len()];
            layout.iter().for_each(|(i, _)| counts[*i] += 1);
            counts
        })
        .collect()
}
