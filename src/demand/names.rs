//! Names that are made for workloads, where one owner's pods become several: unique in their team.

use std::collections::HashSet;
use std::sync::Arc;

/// The names that are taken, by team.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<(Arc<str>, Arc<str>)>);

impl Names {
    /// Of these workloads, by team and name.
    pub(super) fn new(taken: impl Iterator<Item = (Arc<str>, Arc<str>)>) -> Names {
        Names(taken.collect())
    }

    /// Takes the wanted name, with a number behind it where the team has it already.
    pub(super) fn take(&mut self, team: &Arc<str>, wanted: &str) -> Arc<str> {
        let mut name: Arc<str> = wanted.into();
        let mut number = 2;
        while !self.0.insert((team.clone(), name.clone())) {
            name = format!("{wanted}-{number}").into();
            number += 1;
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_taken_twice() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut names = Names::new([(a.clone(), "x-2gpus".into())].into_iter());
        assert_eq!(&*names.take(&a, "x-2gpus"), "x-2gpus-2");
        assert_eq!(&*names.take(&a, "x-2gpus"), "x-2gpus-3");
        assert_eq!(&*names.take(&b, "x-2gpus"), "x-2gpus");
    }
}
